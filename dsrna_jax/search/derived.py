"""The mixtures of the derived cells, with derivatives by the alphas: R where it is wanted in the end."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrna_jax.genotypes.genotype import edge_count
from dsrna_jax.networks import spaces
from dsrna_jax.networks.network import Mixture

REST = 1e-6  # share of the supernet's own mixture that stays


def derived_mixtures(
    alphas: Mapping[str, Array], nodes: int, primitives: Sequence[str], kept: Mapping[str, Array] | None = None
) -> dict[str, Mixture]:
    """Mixtures of which the supernet is the cell that is derived of its alphas, by a straight-through estimate.

    The two strongest edges into each node have weight 1, each with its strongest operation at share 1 (`genotypes.derive`); all
    else has `REST` of its weight in the supernet, so that bounds, which have a corner at weight 0, are differentiated from above.
    The derivatives are those of the supernet's own mixture (Bengio et al. 2013, arXiv:1308.3432): an operation that is not chosen
    gains if more of it, beside what is chosen, would raise R. Where channels are partial, the others bypass the operations as in
    the supernet, and the cell is not quite that of the derived network.

    Args: as those of `genotypes.derive`.
    """
    is_operation = np.array([name != "none" for name in primitives])
    own = spaces.mixtures(alphas, nodes, primitives)
    return {
        kind: _straight_through(mixture, nodes, None if kept is None else kept[kind][:, is_operation])
        for kind, mixture in own.items()
    }


def _straight_through(soft: Mixture, nodes: int, kept: Array | None) -> Mixture:
    assert soft.branches is not None and soft.edges is not None  # as in every supernet of cells
    weights = soft.branches.reshape(len(soft.edges), -1)
    candidates = weights if kept is None else jnp.where(kept, weights, -1)
    best = candidates.max(1)
    borders = [edge_count(node) for node in range(1, nodes)]
    strongest = [jax.nn.one_hot(jax.lax.top_k(part, 2)[1], len(part)).sum(0) for part in jnp.split(best, borders)]
    edges = jnp.concatenate(strongest).astype(weights.dtype)
    operations = jax.nn.one_hot(candidates.argmax(1), weights.shape[1], dtype=weights.dtype)
    hard = Mixture((edges[:, None] * operations).ravel(), edges)
    value = jax.lax.stop_gradient(jax.tree.map(lambda hard, soft: hard + REST * (soft - hard), hard, soft))
    return jax.tree.map(lambda value, soft: value + (soft - jax.lax.stop_gradient(soft)), value, soft)
