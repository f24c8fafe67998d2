"""Mixtures of operations: the shares of an edge from its alphas, by a temperature, Gumbel noise and pruning.

SNAS (Xie et al. 2019, arXiv:1812.09926), GDAS (Dong and Yang 2019, arXiv:1910.04465), ASAP (Noy et al. 2020, arXiv:1904.04123).
Alphas and shares are [edge, primitive] by cell type; `kept` are truth values alike, False for an operation that is pruned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dsrna_jax.genotypes.genotype import CELL_TYPES
from dsrna_jax.search.mixture_options import MixtureOptions

Rows = dict[str, Float[Array, "edge primitive"]]
Kept = dict[str, Bool[Array, "edge primitive"]]


# By name: (first, last, progress from 0 to 1) -> temperature.
TEMPERATURE_SCHEDULES: dict[str, Callable[[float, float, Any], Any]] = {
    "linear": lambda first, last, progress: first + (last - first) * progress,
    "exponential": lambda first, last, progress: first * (last / first) ** progress,
}


def temperature(options: MixtureOptions, epoch: Any, epochs: int) -> Any:
    """The temperature in an epoch, counted from 0: from `temperature_start` in the first to `temperature_end` in the last."""
    schedule = TEMPERATURE_SCHEDULES[options.temperature_schedule]
    return schedule(options.temperature_start, options.temperature_end, epoch / max(1, epochs - 1))


def is_plain(options: MixtureOptions) -> bool:
    """Whether shares are the softmax of the alphas and nothing else."""
    is_cold = options.temperature_start == options.temperature_end == 1
    return options.mixture == "softmax" and is_cold and not options.prune_below and not options.operations


def gumbel_noise(key: PRNGKeyArray, alphas: Mapping[str, Array]) -> Rows:
    """Standard Gumbel noise for the alphas of both cells."""
    keys = jax.random.split(key, len(CELL_TYPES))
    return {kind: jax.random.gumbel(k, alphas[kind].shape) for kind, k in zip(CELL_TYPES, keys, strict=True)}


def shares(alphas: Mapping[str, Array], temperature: Any, noise: Rows | None = None, kept: Kept | None = None) -> Rows:
    """Softmax of (alphas + noise) / temperature over the operations of an edge; what is pruned has share 0.

    With Gumbel noise, a sample of the concrete distribution, differentiable in the alphas (SNAS, Eq. 5).
    """
    return {kind: jax.nn.softmax(rows / temperature) for kind, rows in _disturbed(alphas, noise, kept).items()}


def hard_shares(alphas: Mapping[str, Array], temperature: Any, noise: Rows | None = None, kept: Kept | None = None) -> Rows:
    """Share 1 for the operation of an edge with the largest alpha + noise, 0 for the others.

    With Gumbel noise, that operation is drawn with the probability that the softmax of the alphas gives it, at any temperature.
    The derivative of its share is that of `shares`; the others have none, as in GDAS (section 3.2), which computes one operation.
    """

    def one_hot(rows):
        soft = jax.nn.softmax(rows / temperature)
        chosen = jax.nn.one_hot(rows.argmax(axis=1), rows.shape[1], dtype=rows.dtype)
        return chosen * (1 + (soft - jax.lax.stop_gradient(soft)))

    return {kind: one_hot(rows) for kind, rows in _disturbed(alphas, noise, kept).items()}


def pruned(options: MixtureOptions, alphas: Mapping[str, Array], kept: Kept, temperature: Any, primitives: Any) -> Kept:
    """The rest of `kept`, without the operations of less than `prune_below` / (number left on the edge) (ASAP).

    The strongest operation other than `none` always stays, so that every edge keeps one that can be derived.
    """
    is_operation = np.array([name != "none" for name in primitives])
    left = {}
    for kind, rows in shares(alphas, temperature, None, kept).items():
        count = kept[kind].sum(axis=1, keepdims=True)
        strongest = jnp.where(is_operation[None], rows, -1).argmax(axis=1)
        stays = (rows >= options.prune_below / count) | jax.nn.one_hot(strongest, rows.shape[1], dtype=bool)
        left[kind] = kept[kind] & stays
    return left


def likely_logits(alphas: Mapping[str, Any], temperature: float = 1.0, kept: Any = None) -> dict[str, Any]:
    """NumPy logits whose softmax are the shares without noise, for pictures; -inf if pruned. Weights of edges stay."""
    logits = {name: np.asarray(rows) for name, rows in alphas.items()}
    for kind in CELL_TYPES:
        rows = logits[kind] if temperature == 1 else logits[kind] / temperature
        logits[kind] = rows if kept is None else np.where(np.asarray(kept[kind], bool), rows, -np.inf)
    return logits


def _disturbed(alphas, noise, kept):
    rows = {kind: alphas[kind] if noise is None else alphas[kind] + noise[kind] for kind in CELL_TYPES}
    return rows if kept is None else {kind: jnp.where(kept[kind], rows[kind], -jnp.inf) for kind in CELL_TYPES}


# By name; the first two differ in whether they get noise.
MIXTURES: dict[str, Callable[..., Rows]] = {"softmax": shares, "gumbel": shares, "hard_gumbel": hard_shares}
