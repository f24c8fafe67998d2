"""Perturbed mixtures, on which the weights of a search learn: SmoothDARTS (Chen and Hsieh 2020, arXiv:2002.05283).

`shares` are the softmaxes of the alphas, [edge, primitive] by cell type. As in the published code, the steps are projected onto
the box of the radius around them, and then rows are made probabilities again, which may leave that box. `kept` are truth values
alike, False for an operation that an edge does not have, whose share stays 0; None if edges have all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.search.mixing import Kept

Shares = dict[str, Float[Array, "edge primitive"]]
LossAndGradient = Callable[[Shares], tuple[Float[Array, ""], Shares]]  # of a whole batch


def radius(epoch: Any, epochs: int, first: float, last: float) -> Float[Array, ""]:
    """The radius in an epoch, counted from 0: it rises linearly from `first`, and would reach `last` after all epochs."""
    return jnp.float32(first) + (last - first) * epoch / epochs


def probabilities(shares: Shares, kept: Kept | None = None) -> Shares:
    """Rows cut to [0, 1] and divided by their sums; a row without a positive entry has its largest set to one before."""

    def row_wise(rows, kept=True):
        rows = jnp.where(kept, rows, -jnp.inf)
        cut = jnp.clip(rows, 0, 1)
        largest = jax.nn.one_hot(rows.argmax(1), rows.shape[1], dtype=rows.dtype)
        cut = jnp.where(cut.sum(1, keepdims=True) == 0, largest, cut)
        return cut / cut.sum(1, keepdims=True)

    return jax.tree.map(row_wise, shares) if kept is None else jax.tree.map(row_wise, shares, kept)


def uniform(_: LossAndGradient, shares: Shares, key: jax.Array, radius: Any, steps: int = 0, kept: Kept | None = None) -> Shares:
    """SDARTS-RS (Eq. 3): every share moved by a uniform number in [-radius, radius], rows made probabilities."""
    keys = dict(zip(sorted(shares), jax.random.split(key, len(shares)), strict=True))
    moved = {kind: rows + radius * jax.random.uniform(keys[kind], rows.shape, rows.dtype, -1, 1) for kind, rows in shares.items()}
    return probabilities(moved, kept)


def adversarial(
    loss_and_gradient: LossAndGradient, shares: Shares, key: jax.Array, radius: Any, steps: int = 7, kept: Kept | None = None
) -> Shares:
    """SDARTS-ADV (Eq. 4): shares that raise the loss, by steps of sign ascent of 2 radius / steps from a uniform start.

    If the loss has fallen in the end, the shares themselves, as in the published code.
    """
    step = 2 * radius / steps

    def ascend(_, moved):
        _, gradient = loss_and_gradient(moved)
        moved = jax.tree.map(lambda s, m, g: s + jnp.clip(m + step * jnp.sign(g) - s, -radius, radius), shares, moved, gradient)
        return probabilities(moved, kept)

    moved = jax.lax.fori_loop(0, steps, ascend, uniform(loss_and_gradient, shares, key, radius, kept=kept))
    has_fallen = loss_and_gradient(moved)[0] < loss_and_gradient(shares)[0]
    return jax.tree.map(lambda s, m: jnp.where(has_fallen, s, m), shares, moved)


# By name; each takes the loss on the batch of a weight step, and its gradient, as a function of the shares.
PERTURBATIONS: dict[str, Callable[..., Shares] | None] = {"none": None, "uniform": uniform, "adversarial": adversarial}
