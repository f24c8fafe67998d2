"""Mixtures of operations: the shares of an edge from its alphas, by a temperature, Gumbel noise and pruning.

SNAS (Xie et al. 2019, arXiv:1812.09926), GDAS (Dong and Yang 2019, arXiv:1910.04465), ASAP (Noy et al. 2020, arXiv:1904.04123).
Binarised paths: ProxylessNAS (Cai et al. 2019, arXiv:1812.00332). Alphas and shares are [row, primitive] by group of the space
(`genotypes.search_spaces`), a row being an edge of a cell or a block; `kept` are truth values alike, False for an operation that
is pruned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dsrna_jax.genotypes.search_spaces import groups_of
from dsrna_jax.search.options.mixtures import MixtureOptions

Rows = dict[str, Float[Array, "row primitive"]]
Kept = dict[str, Bool[Array, "row primitive"]]


# By name: (first, last, progress from 0 to 1) -> temperature.
TEMPERATURE_SCHEDULES: dict[str, Callable[[float, float, Any], Any]] = {
    "linear": lambda first, last, progress: first + (last - first) * progress,
    "exponential": lambda first, last, progress: first * (last / first) ** progress,
}


def temperature(options: MixtureOptions, epoch: Any, epochs: int) -> Any:
    """The temperature in an epoch, counted from 0: from `temperature_start` in the first to `temperature_end` in the last."""
    schedule = TEMPERATURE_SCHEDULES[options.temperature_schedule]
    return schedule(options.temperature_start, options.temperature_end, epoch / max(1, epochs - 1))


def has_temperature(options: MixtureOptions) -> bool:
    """Whether shares are another mixture than the softmax of the alphas, or are pruned."""
    is_cold = options.temperature_start == options.temperature_end == 1
    return options.mixture != "softmax" or not is_cold or bool(options.prune_below)


def is_plain(options: Any) -> bool:
    """Whether the shares in a search of that configuration are the softmax of the alphas and nothing else."""
    return not has_temperature(options) and options.kept is None


def gumbel_noise(key: PRNGKeyArray, alphas: Mapping[str, Array]) -> Rows:
    """Standard Gumbel noise for the alphas of all groups."""
    groups = groups_of(alphas)
    keys = jax.random.split(key, len(groups))
    return {group: jax.random.gumbel(k, alphas[group].shape) for group, k in zip(groups, keys, strict=True)}


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


def binary_shares(alphas: Mapping[str, Array], temperature: Any, noise: Rows | None = None, kept: Kept | None = None) -> Rows:
    """Share 1 for the operation with the largest alpha + noise, 0 for the others, with the derivatives of the softmax of alphas.

    Binarised paths (ProxylessNAS, Cai et al. 2019, arXiv:1812.00332, Eq. 4): with Gumbel noise an operation is drawn with its
    probability, and the derivative of its gate stands for that of its probability. As in the default of the published code the
    gates of all paths have a derivative. The paper's two paths of each step need less memory, and vary more.
    """
    soft = shares(alphas, temperature, None, kept)

    def one_hot(rows, soft):
        drawn = jax.nn.one_hot(rows.argmax(axis=1), rows.shape[1], dtype=rows.dtype)
        return drawn + (soft - jax.lax.stop_gradient(soft))

    return {group: one_hot(rows, soft[group]) for group, rows in _disturbed(alphas, noise, kept).items()}


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
    for kind in groups_of(logits):
        rows = logits[kind] if temperature == 1 else logits[kind] / temperature
        logits[kind] = rows if kept is None else np.where(np.asarray(kept[kind], bool), rows, -np.inf)
    return logits


def _disturbed(alphas, noise, kept):
    rows = {group: alphas[group] if noise is None else alphas[group] + noise[group] for group in groups_of(alphas)}
    return rows if kept is None else {group: jnp.where(kept[group], rows[group], -jnp.inf) for group in rows}


# By name; the first two differ in whether they get noise.
MIXTURES: dict[str, Callable[..., Rows]] = {
    "softmax": shares,
    "gumbel": shares,
    "hard_gumbel": hard_shares,
    "binary": binary_shares,
}
