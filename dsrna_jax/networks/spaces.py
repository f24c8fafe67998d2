"""Supernets of the search spaces, their alphas, and the mixtures of alphas."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dsrna_jax.genotypes.genotype import CELL_TYPES, reduction_positions
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.genotypes.search_spaces import BlockSpace, SearchSpace, check_channels, groups_of, search_space
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.networks.blocks import block_supernet
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.plan import CellPlan, supernet_branches

Kept = Mapping[str, np.ndarray]  # truth values [row, primitive] by group


def supernet(
    space: str, *, nodes: int, cells: int, primitives: Sequence[str] | None = None, kept: Kept | None = None, **settings: Any
) -> Network:
    """The network that holds every candidate operation on every edge, or in every block, of a search space.

    Args:
      space: a name in `genotypes.search_spaces.SPACES`.
      nodes: intermediate nodes of a cell.
      primitives: names of the operations; by default those of the space.
      kept: operations that the edges or blocks still have; the others are not built. By default all are.
      **settings: as those of a `Network`.
    Raises: InputError if there is no such space, or if its channels cannot be divided as it needs.
    """
    record = search_space(space)
    check_channels(space, settings["channels"])
    own = BUILDERS[type(record)]
    return own.supernet(primitives or record.primitives, kept, nodes=nodes, cells=cells, partial=record.partial, **settings)


def _cell_supernet(primitives: Sequence[str], kept: Kept | None, *, nodes: int, cells: int, **settings: Any) -> Network:
    every, plans = supernet_branches(nodes, primitives), {}
    for kind in CELL_TYPES:
        columns = range(len(every)) if kept is None else _columns(kept[kind], primitives)
        plans[kind] = CellPlan(tuple(every[column] for column in columns), tuple(range(2, 2 + nodes)))
    kinds = (CELL_TYPES[i in reduction_positions(cells)] for i in range(cells))
    return Network(tuple(plans[kind] for kind in kinds), is_supernet=True, **settings)


def _block_supernet(primitives: Sequence[str], kept: Kept | None, *, nodes: int, **settings: Any) -> Network:
    return block_supernet(primitives, kept, **settings)


def _columns(kept: np.ndarray, primitives: Sequence[str]) -> list[int]:
    """The branches that a cell keeps, as columns of the branches that it has with all operations but `none`."""
    has_branch = np.array([name != "none" for name in primitives])
    return np.flatnonzero(kept[:, has_branch]).tolist()


def initial_alphas(
    key: PRNGKeyArray, space: str, nodes: int, primitives: Sequence[str] | None = None, *, cells: int = 8
) -> dict[str, Float[Array, "row primitive"] | Float[Array, "row"]]:
    """Logits of the architecture, 1e-3 * normal: [row, primitive] by group and, if the space has them, [row] for its edges."""
    record, shapes = search_space(space), {}
    for group, count in record.groups(nodes, cells).items():
        shapes[group] = (count, len(primitives or record.primitives))
        if record.has_edge_logits:
            shapes[f"{group}_edges"] = (count,)
    keys = jax.random.split(key, len(shapes))
    return {name: 1e-3 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, sorted(shapes.items()), strict=True)}


def shares(alphas: Mapping[str, Array]) -> dict[str, Float[Array, "row primitive"]]:
    """The softmax over each row's primitives, by group."""
    return {group: jax.nn.softmax(alphas[group]) for group in groups_of(alphas)}


def mixtures(
    alphas: Mapping[str, Array],
    nodes: int,
    primitives: Sequence[str] = PRIMITIVES,
    shares_of_edges: Mapping[str, Array] | None = None,
    kept: Kept | None = None,
    *,
    space: str = "darts",
) -> dict[str, Mixture]:
    """The mixtures of a supernet, by group, from the shares of the primitives of each row.

    Of cells, the weights of the branches: shares of an edge without that of `none`. Edge logits (PC-DARTS, section 3.2) become a
    softmax over the edges that enter a node, which multiplies these; without edge logits an edge has weight one. Of blocks, the
    shares themselves.

    Args:
      shares_of_edges: in place of `shares(alphas)`, such as perturbed ones.
      kept: as that of `supernet`, which has branches for these operations alone; `shares_of_edges` should be 0 for the others.
      space: one of the same kind.
    """
    by_group = shares(alphas) if shares_of_edges is None else shares_of_edges
    return BUILDERS[type(search_space(space))].mixtures(by_group, alphas, nodes, primitives, kept)


def _cell_mixtures(by_kind: Mapping[str, Array], alphas, nodes: int, primitives, kept: Kept | None) -> dict[str, Mixture]:
    result, columns = {}, [i for i, p in enumerate(primitives) if p != "none"]
    for kind in CELL_TYPES:
        operations = gather_rows(by_kind[kind].T, columns).T
        edge = jnp.ones(len(operations), operations.dtype)
        if f"{kind}_edges" in alphas:
            borders = [sum(range(2, 2 + i)) for i in range(1, nodes)]
            edge = jnp.concatenate([jax.nn.softmax(part) for part in jnp.split(alphas[f"{kind}_edges"], borders)])
        branches = (edge[:, None] * operations).ravel()
        result[kind] = Mixture(branches if kept is None else gather_rows(branches, _columns(kept[kind], primitives)), edge)
    return result


def _block_mixtures(by_group: Mapping[str, Array], *_: Any) -> dict[str, Mixture]:
    return {group: Mixture(rows, None) for group, rows in by_group.items()}


class Builder(NamedTuple):
    """The functions that make the networks of a kind of spaces.

    supernet(primitives, kept, nodes=, cells=, **settings) -> Network.
    mixtures(shares by group, alphas, nodes, primitives, kept) -> its mixtures.
    """

    supernet: Callable[..., Network]
    mixtures: Callable[..., dict[str, Mixture]]


BUILDERS: dict[type[SearchSpace], Builder] = {
    SearchSpace: Builder(_cell_supernet, _cell_mixtures),
    BlockSpace: Builder(_block_supernet, _block_mixtures),
}
