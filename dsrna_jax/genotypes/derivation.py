"""Derivation of genotypes from alphas: the operations and edges with the largest weights in the mixtures of a supernet."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.block_genotype import derive_blocks
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.genotype import CELL_TYPES, Gene, Genotype, edge_count
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.genotypes.search_spaces import BlockSpace, SearchSpace


def mixture(logits: Any) -> np.ndarray:
    """Softmax over the last axis, in float64.

    A permuted row has exactly the permuted mixture, so that edges which tie in real arithmetic also tie in floating point.
    """
    logits = np.asarray(logits, np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / np.sort(weights, axis=-1).sum(axis=-1, keepdims=True)


def edge_mixture(edge_logits: Any) -> np.ndarray:
    """Weights [edges] of the edges in the pcdarts space: softmax of their logits [edges] over the edges into each node."""
    edge_logits = np.asarray(edge_logits, np.float64)
    return np.concatenate([mixture(edge_logits[group]) for group in _edges_into_nodes(len(edge_logits))])


def derive(alphas: Mapping[str, Any], primitives: Sequence[str] = PRIMITIVES, kept: Mapping[str, Any] | None = None) -> Genotype:
    """The genotype of the largest weights in the supernet's mixtures.

    The strength of an edge is the weight of its strongest operation other than `none`; the softmax includes `none`. In the
    pcdarts space it is multiplied by the edge's own weight. A node keeps its two strongest edges, the stronger first,
    each with its strongest operation. Ties go to the lower index; an edge without an operation that may be chosen comes after all
    others. The output concatenates all intermediate nodes.
    Follows DARTS (arXiv:1806.09055, section 2.4) and PC-DARTS (arXiv:1907.05737, section 3.3).

    Args:
      alphas: logits "normal" and "reduction" [edges, len(primitives)]; in the pcdarts space also "normal_edges" and
        "reduction_edges" [edges]. NumPy or JAX arrays. An operation is ruled out by -inf.
      primitives: names of the columns of alphas.
      kept: truth values [edges, len(primitives)] by cell, of operations that may be chosen; others still count in the softmax,
        without which edges that have one operation left would tie.
    Raises: InputError if a cell is missing, shapes do not fit, or a node has fewer than two edges with an operation that may be
      chosen; FloatingPointError if alphas are not finite.
    """
    normal, reduction = (_derive_cell(cell, alphas, primitives, kept) for cell in CELL_TYPES)
    concat = tuple(range(2, len(normal) // 2 + 2))
    return Genotype(normal, concat, reduction, concat)


def derive_dense(
    alphas: Mapping[str, Any], primitives: Sequence[str] = PRIMITIVES, kept: Mapping[str, Any] | None = None
) -> DenseGenotype:
    """The dense genotype of the largest alphas: every edge keeps its strongest operation, `none` among them.

    Follows SNAS (arXiv:1812.09926), which prunes no edge. Where that leaves a node without an edge, the
    operation other than `none` with the largest weight in the mixtures of its edges stays. Arguments as those of `derive`.

    Raises: as `derive`, but a node needs one such edge alone.
    """
    return DenseGenotype(*(_dense_cell(cell, alphas, primitives, kept) for cell in CELL_TYPES))


# By the kind of space and, for cells, by the edges that a derived one keeps: two into each node, or all.
DERIVATIONS: dict[type[SearchSpace], dict[str, Callable[..., Any]]] = {
    SearchSpace: {"two": derive, "all": derive_dense},
    BlockSpace: {"two": derive_blocks},
}


def derivation(space: SearchSpace, keep: str) -> Callable[..., Any]:
    """The function (alphas, primitives, kept) -> genotype of a space, by the edges that a cell keeps."""
    return DERIVATIONS[type(space)][keep]


def _dense_cell(cell: str, alphas: Mapping[str, Any], primitives: Sequence[str], kept: Any) -> tuple[str, ...]:
    logits, allowed, groups = _checked(cell, alphas, primitives, kept, least=1)
    favourites = np.where(allowed, logits, -np.inf).argmax(axis=1)
    names = [primitives[int(column)] if may.any() else "none" for column, may in zip(favourites, allowed, strict=True)]
    weights = np.where(allowed & _are_operations(primitives), mixture(logits), -1)
    for group in groups:
        if all(name == "none" for name in names[group]):
            source, favourite = divmod(int(weights[group].argmax()), len(primitives))
            names[group.start + source] = primitives[favourite]
    return tuple(names)


def _edges_into_nodes(edge_total: int) -> list[slice]:
    """The slice of the edges into each intermediate node."""
    starts = [0]
    while starts[-1] < edge_total:
        starts.append(starts[-1] + len(starts) + 1)
    if starts[-1] != edge_total or edge_total == 0:
        known = ", ".join(str(edge_count(nodes)) for nodes in range(1, 6))
        raise InputError(f"expected as many edges as a cell has ({known}, ...); got {edge_total}")
    return [slice(start, stop) for start, stop in pairwise(starts)]


def _are_operations(primitives: Sequence[str]) -> np.ndarray:
    """Whether each primitive is another than `none`."""
    return np.array([name != "none" for name in primitives])


def _checked(
    cell: str, alphas: Mapping[str, Any], primitives: Sequence[str], kept: Mapping[str, Any] | None, least: int
) -> tuple[np.ndarray, np.ndarray, list[slice]]:
    """The logits of a cell, the columns that may be chosen on each edge, alike, and the edges into each node.

    Each edge has a finite logit, and each node an operation that may be chosen on at least `least` of its edges.
    """
    for name, given in (("alphas", alphas), ("kept", kept)):
        if given is not None and cell not in given:
            raise InputError(
                f"expected {name} of the cells {' and '.join(CELL_TYPES)}; got {', '.join(map(str, given)) or 'none'}"
            )
    logits = np.asarray(alphas[cell], np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(primitives) or set(primitives) <= {"none"}:
        raise InputError(f"expected {cell} alphas [edges, {len(primitives)} primitives]; got shape {logits.shape}")
    groups = _edges_into_nodes(len(logits))
    if not np.isfinite(logits.max(axis=1)).all():
        raise FloatingPointError(f"the {cell} alphas are not finite: no genotype can be derived from them")
    allowed = logits > -np.inf
    if kept is not None:
        if np.shape(kept[cell]) != logits.shape:
            raise InputError(f"expected kept operations of the {cell} cell of shape {logits.shape}; got {np.shape(kept[cell])}")
        allowed &= np.asarray(kept[cell], bool)
    for node, group in enumerate(groups, 2):
        count = int((allowed & _are_operations(primitives))[group].any(axis=1).sum())
        if count < least:
            raise InputError(
                f"expected {least} or more edges with an operation to choose into node {node} of the {cell} cell; got {count}"
            )
    return logits, allowed, groups


def _derive_cell(
    cell: str, alphas: Mapping[str, Any], primitives: Sequence[str], kept: Mapping[str, Any] | None
) -> tuple[Gene, ...]:
    logits, allowed, groups = _checked(cell, alphas, primitives, kept, least=2)
    allowed &= _are_operations(primitives)
    # Without edge logits all edges into a node weigh the same.
    edge_logits = np.asarray(alphas.get(f"{cell}_edges", np.zeros(len(logits))), np.float64)
    if edge_logits.shape != logits.shape[:1]:
        raise InputError(f"expected {cell}_edges alphas of shape ({len(logits)},); got {edge_logits.shape}")
    if not np.isfinite(edge_logits).all():
        raise FloatingPointError(f"the {cell} alphas are not finite: no genotype can be derived from them")
    # Ranked by logits, because mixtures may underflow to equal zeros.
    favourites = np.where(allowed, logits, -np.inf).argmax(axis=1)
    strengths = mixture(logits)[np.arange(len(logits)), favourites] * edge_mixture(edge_logits)
    strengths = np.where(allowed.any(axis=1), strengths, -1)
    genes = []
    for group in groups:
        for source in np.argsort(-strengths[group], kind="stable")[:2]:
            genes.append((primitives[favourites[group.start + source]], int(source)))
    return tuple(genes)
