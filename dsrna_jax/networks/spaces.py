"""Supernets of the search spaces, their alphas, and the mixtures of alphas."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, edges
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.genotypes.search_spaces import search_space
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.plan import CellPlan, reduction_positions, supernet_branches

Kept = Mapping[str, np.ndarray]  # truth values [edge, primitive] by cell type


def supernet(
    space: str, *, nodes: int, cells: int, primitives: Sequence[str] | None = None, kept: Kept | None = None, **settings: Any
) -> Network:
    """The network that holds every candidate operation on every edge of a search space.

    Args:
      space: a name in `genotypes.search_spaces.SPACES`.
      nodes: intermediate nodes of a cell.
      primitives: names of the operations; by default those of the space.
      kept: operations that the edges still have; the others are not built. By default all are.
      **settings: as those of a `Network`.
    Raises: InputError if there is no such space, or if its channels cannot be divided as it needs.
    """
    record = search_space(space)
    if settings["channels"] % (2 * record.partial):
        raise InputError(f"channels must be a multiple of {2 * record.partial} in the space {space}, got {settings['channels']}")
    every, plans = supernet_branches(nodes, primitives or record.primitives), {}
    for kind in CELL_TYPES:
        columns = range(len(every)) if kept is None else _columns(kept[kind], primitives or record.primitives)
        plans[kind] = CellPlan(tuple(every[column] for column in columns), tuple(range(2, 2 + nodes)))
    kinds = (CELL_TYPES[i in reduction_positions(cells)] for i in range(cells))
    return Network(tuple(plans[kind] for kind in kinds), partial=record.partial, is_supernet=True, **settings)


def _columns(kept: np.ndarray, primitives: Sequence[str]) -> list[int]:
    """The branches that a cell keeps, as columns of the branches that it has with all operations but `none`."""
    has_branch = np.array([name != "none" for name in primitives])
    return np.flatnonzero(kept[:, has_branch]).tolist()


def initial_alphas(
    key: PRNGKeyArray, space: str, nodes: int, primitives: Sequence[str] | None = None
) -> dict[str, Float[Array, "edge primitive"] | Float[Array, "edge"]]:
    """Logits of the architecture, 1e-3 * normal: [edge, primitive] by cell type and, if the space has them, [edge] for edges."""
    record, count, shapes = search_space(space), len(edges(nodes)), {}
    for kind in CELL_TYPES:
        shapes[kind] = (count, len(primitives or record.primitives))
        if record.has_edge_logits:
            shapes[f"{kind}_edges"] = (count,)
    keys = jax.random.split(key, len(shapes))
    return {name: 1e-3 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, sorted(shapes.items()), strict=True)}


def shares(alphas: Mapping[str, Array]) -> dict[str, Float[Array, "edge primitive"]]:
    """The softmax over each edge's primitives, by cell type."""
    return {kind: jax.nn.softmax(alphas[kind]) for kind in CELL_TYPES}


def mixtures(
    alphas: Mapping[str, Array],
    nodes: int,
    primitives: Sequence[str] = PRIMITIVES,
    shares_of_edges: Mapping[str, Array] | None = None,
    kept: Kept | None = None,
) -> dict[str, Mixture]:
    """Weights of the branches of a supernet, by cell type: `shares` of an edge's primitives, without that of `none`.

    Edge logits (PC-DARTS, section 3.2) become a softmax over the edges that enter a node, which multiplies these; without edge
    logits an edge has weight one.

    Args:
      shares_of_edges: in place of `shares(alphas)`, such as perturbed ones.
      kept: as that of `supernet`, which has branches for these operations alone; `shares_of_edges` should be 0 for the others.
    """
    result, columns = {}, [i for i, p in enumerate(primitives) if p != "none"]
    by_kind = shares(alphas) if shares_of_edges is None else shares_of_edges
    for kind in CELL_TYPES:
        operations = gather_rows(by_kind[kind].T, columns).T
        edge = jnp.ones(len(operations), operations.dtype)
        if f"{kind}_edges" in alphas:
            borders = [sum(range(2, 2 + i)) for i in range(1, nodes)]
            edge = jnp.concatenate([jax.nn.softmax(part) for part in jnp.split(alphas[f"{kind}_edges"], borders)])
        branches = (edge[:, None] * operations).ravel()
        result[kind] = Mixture(branches if kept is None else gather_rows(branches, _columns(kept[kind], primitives)), edge)
    return result
