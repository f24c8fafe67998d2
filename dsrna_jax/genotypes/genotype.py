"""Cells as plain data: the genotype, its derivation from alphas, JSON."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES

Gene = tuple[str, int]

CELL_TYPES = ("normal", "reduction")


def edge_count(nodes: int) -> int:
    """Number of edges of a cell with `nodes` intermediate ones: node i + 2 has i + 2 predecessors."""
    return nodes * (nodes + 3) // 2


def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """(source, target) of every edge of a cell in the order of the rows of alphas; nodes 0 and 1 are the inputs."""
    return tuple((source, target) for target in range(2, nodes + 2) for source in range(target))


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell, after DARTS (arXiv:1806.09055).

    Genes 2i and 2i + 1 feed node i + 2: each is a primitive and the node that it reads. Nodes 0 and 1 are the outputs
    of the two cells before. A cell's output concatenates the nodes in `*_concat`. Lists are taken as tuples.

    Raises: InputError if the genotype describes no network.
    """

    normal: tuple[Gene, ...]
    normal_concat: tuple[int, ...]
    reduction: tuple[Gene, ...]
    reduction_concat: tuple[int, ...]

    def __post_init__(self):
        for cell in CELL_TYPES:
            genes = _genes(cell, getattr(self, cell))
            object.__setattr__(self, cell, genes)
            name = f"{cell}_concat"
            object.__setattr__(self, name, _concat(name, getattr(self, name), nodes=len(genes) // 2 + 2))
        if len(self.normal) != len(self.reduction):
            raise InputError(
                f"the two cells of a genotype have equally many genes; got {len(self.normal)} in the normal and "
                f"{len(self.reduction)} in the reduction cell"
            )

    @property
    def nodes(self) -> int:
        """Number of intermediate nodes of a cell."""
        return len(self.normal) // 2

    def __str__(self) -> str:
        """One line a cell, e.g. `normal: 2<-sep_conv_3x3(0)+skip_connect(1) 3<-...`."""
        return "\n".join(_line(cell, getattr(self, cell), getattr(self, f"{cell}_concat")) for cell in CELL_TYPES)


def mixture(logits: Any) -> np.ndarray:
    """Softmax over the last axis, in float64.

    Permuting a row permutes its mixture exactly, so that edges which tie in theory also tie in floating point.
    """
    logits = np.asarray(logits, np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / np.sort(weights, axis=-1).sum(axis=-1, keepdims=True)


def edge_mixture(edge_logits: Any) -> np.ndarray:
    """Weights of the edges in the pcdarts space: softmax of the logits [edges] over the edges into each node."""
    edge_logits = np.asarray(edge_logits, np.float64)
    return np.concatenate([mixture(edge_logits[group]) for group in _edges_into_nodes(len(edge_logits))])


def derive(alphas: Mapping[str, Any], primitives: Sequence[str] = PRIMITIVES) -> Genotype:
    """The genotype that the supernet's mixtures favour.

    An edge is as strong as its strongest operation other than `none`; the softmax is taken with `none` in it. In the
    pcdarts space this is multiplied by the edge's own weight. A node keeps its two strongest edges, the stronger first,
    each with its strongest operation. Ties go to the lower index. The output concatenates all intermediate nodes.
    Follows DARTS (arXiv:1806.09055, section 2.4) and PC-DARTS (arXiv:1907.05737, section 3.3).

    Args:
      alphas: logits "normal" and "reduction" [edges, len(primitives)]; in the pcdarts space also "normal_edges" and
        "reduction_edges" [edges]. NumPy or JAX arrays. An operation is ruled out by -inf.
      primitives: what the columns of alphas stand for.
    Raises: ValueError if the shapes do not fit; FloatingPointError if alphas are not finite.
    """
    normal, reduction = (_derive_cell(cell, alphas, primitives) for cell in CELL_TYPES)
    concat = tuple(range(2, len(normal) // 2 + 2))
    return Genotype(normal, concat, reduction, concat)


def skip_count(genotype: Genotype, cell: str = "normal") -> int:
    """Number of skip connections among the genes of a cell; a cell of nothing else has collapsed."""
    return sum(OPERATIONS[name].family == "skip" for name, _ in getattr(genotype, cell))


def to_json(genotype: Genotype) -> dict[str, list]:
    """The genotype as a JSON value: a dict of lists."""
    return {
        "normal": [list(gene) for gene in genotype.normal],
        "normal_concat": list(genotype.normal_concat),
        "reduction": [list(gene) for gene in genotype.reduction],
        "reduction_concat": list(genotype.reduction_concat),
    }


def from_json(value: Mapping[str, Any] | str) -> Genotype:
    """The genotype in a JSON value or in its text.

    The field's names "reduce" and "reduce_concat" are read too, and keys that say something else are ignored.

    Raises: InputError if it holds no genotype.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError(f"expected a genotype in JSON; got text that is no JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise InputError(f"expected a genotype as a JSON object; got {_shown(value)}")
    old_names = {"reduction": "reduce", "reduction_concat": "reduce_concat"}
    fields = {}
    for name in ("normal", "normal_concat", "reduction", "reduction_concat"):
        key = name if name in value else old_names.get(name, name)
        if key not in value:
            raise InputError(f"a genotype needs the key {name!r}; got {', '.join(map(repr, value)) or 'no keys'}")
        fields[name] = value[key]
    return Genotype(**fields)


def save(genotype: Any, path: str | os.PathLike, to_json: Callable[[Any], dict[str, Any]] = to_json) -> None:
    """Writes the genotype as JSON, one field a line. The file is replaced as a whole or not at all."""
    lines = [f"  {json.dumps(name)}: {json.dumps(field)}" for name, field in to_json(genotype).items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def load(path: str | os.PathLike, from_json: Callable[[str], Any] = from_json) -> Any:
    """The genotype in a JSON file. Raises: InputError, which names the file, if there is none in it."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read a genotype from {path}: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _edges_into_nodes(edge_total: int) -> list[slice]:
    """For each intermediate node the slice of the edges that enter it."""
    starts = [0]
    while starts[-1] < edge_total:
        starts.append(starts[-1] + len(starts) + 1)
    if starts[-1] != edge_total or edge_total == 0:
        known = ", ".join(str(edge_count(nodes)) for nodes in range(1, 6))
        raise ValueError(f"expected as many edges as a cell has ({known}, ...); got {edge_total}")
    return [slice(start, stop) for start, stop in pairwise(starts)]


def _derive_cell(cell: str, alphas: Mapping[str, Any], primitives: Sequence[str]) -> tuple[Gene, ...]:
    logits = np.asarray(alphas[cell], np.float64)
    candidates = [index for index, name in enumerate(primitives) if name != "none"]
    if logits.ndim != 2 or logits.shape[1] != len(primitives) or not candidates:
        raise ValueError(f"expected {cell} alphas [edges, {len(primitives)} primitives]; got shape {logits.shape}")
    groups = _edges_into_nodes(len(logits))
    # Without edge logits all edges into a node weigh the same.
    edge_logits = np.asarray(alphas.get(f"{cell}_edges", np.zeros(len(logits))), np.float64)
    if edge_logits.shape != logits.shape[:1]:
        raise ValueError(f"expected {cell}_edges alphas of shape ({len(logits)},); got {edge_logits.shape}")
    if not np.isfinite(logits.max(axis=1) + edge_logits).all():
        raise FloatingPointError(f"the {cell} alphas are not finite: no genotype can be derived from them")
    strengths = mixture(logits)[:, candidates].max(axis=1) * edge_mixture(edge_logits)
    # By the logits and not by the mixture, which may underflow to equal zeros.
    favourites = logits[:, candidates].argmax(axis=1)
    genes = []
    for group in groups:
        for source in np.argsort(-strengths[group], kind="stable")[:2]:
            genes.append((primitives[candidates[favourites[group.start + source]]], int(source)))
    return tuple(genes)


def _genes(cell: str, genes: Any) -> tuple[Gene, ...]:
    """`genes` of one cell in the form that a Genotype keeps, checked."""
    if not isinstance(genes, Sequence) or isinstance(genes, str) or not genes or len(genes) % 2:
        raise InputError(f"expected the genes of the {cell} cell as a list of pairs, two a node; got {_shown(genes)}")
    checked = []
    for index, gene in enumerate(genes):
        node = index // 2 + 2
        if not isinstance(gene, Sequence) or isinstance(gene, str) or len(gene) != 2:
            raise InputError(f"expected gene {index} of the {cell} cell as [operation, source]; got {_shown(gene)}")
        name, source = gene
        if not isinstance(name, str) or name not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise InputError(f"unknown operation {_shown(name)} in gene {index} of the {cell} cell; known are {known}")
        if not _is_index(source) or not 0 <= source < node:
            raise InputError(
                f"gene {index} of the {cell} cell feeds node {node}, so its source is one of 0 to {node - 1}; "
                f"got {_shown(source)}"
            )
        checked.append((name, int(source)))
    return tuple(checked)


def _concat(name: str, concat: Any, nodes: int) -> tuple[int, ...]:
    """The indices of the concatenated nodes in the form that a Genotype keeps, checked."""
    indices = tuple(concat) if isinstance(concat, Sequence) else ()
    in_range = all(_is_index(index) and 2 <= index < nodes for index in indices)
    if not indices or not in_range or len(set(indices)) < len(indices):
        raise InputError(f"expected {name} as a list of different nodes from 2 to {nodes - 1}; got {_shown(concat)}")
    return tuple(int(index) for index in indices)


def _is_index(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """`value` for an error message, on one line and not endless."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _line(cell: str, genes: tuple[Gene, ...], concat: tuple[int, ...]) -> str:
    names = [f"{name}({source})" for name, source in genes]
    nodes = [f"{node}<-{names[2 * node - 4]}+{names[2 * node - 3]}" for node in range(2, len(genes) // 2 + 2)]
    some_only = sorted(concat) != list(range(2, len(genes) // 2 + 2))
    return f"{cell}: {' '.join(nodes)}" + (f" concat {','.join(map(str, concat))}" if some_only else "")
