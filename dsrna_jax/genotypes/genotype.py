"""The genotype: a normal and a reduction cell as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.operations import OPERATIONS

Gene = tuple[str, int]

CELL_TYPES = ("normal", "reduction")
MOST_NODES = 64


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
    of the two cells before. A cell's output concatenates the nodes in `*_concat`. Lists become tuples.

    Raises: InputError if the genotype describes no network.
    """

    normal: tuple[Gene, ...]
    normal_concat: tuple[int, ...]
    reduction: tuple[Gene, ...]
    reduction_concat: tuple[int, ...]

    groups = CELL_TYPES

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

    def genes(self, cell: str) -> tuple[tuple[str, int, int], ...]:
        """(operation, source, target) of every edge of a cell."""
        return tuple((name, source, 2 + i // 2) for i, (name, source) in enumerate(getattr(self, cell)))

    def concat(self, cell: str) -> tuple[int, ...]:
        """The nodes that make up the output of a cell."""
        return getattr(self, f"{cell}_concat")

    def __str__(self) -> str:
        """One line a cell, e.g. `normal: 2<-sep_conv_3x3(0)+skip_connect(1) 3<-...`."""
        return "\n".join(_line(cell, getattr(self, cell), getattr(self, f"{cell}_concat")) for cell in CELL_TYPES)


def reduction_positions(cells: int) -> set[int]:
    """Indices of the cells or blocks that halve the side and double the channels, at a third and at two thirds of the depth."""
    return {cells // 3, 2 * cells // 3}


def called(group: str) -> str:
    """A group of choices as texts name it: "normal cell", "reduction cell" or "blocks"."""
    return f"{group} cell" if group in CELL_TYPES else group


def skip_count(genotype: Any, cell: str = "normal") -> int:
    """Number of skip connections in a cell of a genotype, dense or not; a cell of nothing else has collapsed."""
    return sum(OPERATIONS[name].family == "skip" for name, _, _ in genotype.genes(cell))


def _genes(cell: str, genes: Any) -> tuple[Gene, ...]:
    """The checked genes of one cell, as tuples."""
    if not isinstance(genes, Sequence) or isinstance(genes, str) or not genes or len(genes) % 2:
        raise InputError(f"expected the genes of the {cell} cell as a list of pairs, two a node; got {shown(genes)}")
    if len(genes) > 2 * MOST_NODES:
        raise InputError(f"expected at most {2 * MOST_NODES} genes of the {cell} cell, two a node; got {len(genes)}")
    checked = []
    for index, gene in enumerate(genes):
        node = index // 2 + 2
        if not isinstance(gene, Sequence) or isinstance(gene, str) or len(gene) != 2:
            raise InputError(f"expected gene {index} of the {cell} cell as [operation, source]; got {shown(gene)}")
        name, source = gene
        if not isinstance(name, str) or name not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise InputError(f"unknown operation {shown(name)} in gene {index} of the {cell} cell; known are {known}")
        if not _is_index(source) or not 0 <= source < node:
            raise InputError(
                f"gene {index} of the {cell} cell feeds node {node}, so its source is one of 0 to {node - 1}; got {shown(source)}"
            )
        checked.append((name, int(source)))
    return tuple(checked)


def _concat(name: str, concat: Any, nodes: int) -> tuple[int, ...]:
    """The checked indices of the concatenated nodes, as a tuple."""
    indices = tuple(concat) if isinstance(concat, Sequence) else ()
    in_range = all(_is_index(index) and 2 <= index < nodes for index in indices)
    if not indices or not in_range or len(set(indices)) < len(indices):
        raise InputError(f"expected {name} as a list of different nodes from 2 to {nodes - 1}; got {shown(concat)}")
    return tuple(int(index) for index in indices)


def _is_index(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _line(cell: str, genes: tuple[Gene, ...], concat: tuple[int, ...]) -> str:
    names = [f"{name}({source})" for name, source in genes]
    nodes = [f"{node}<-{names[2 * node - 4]}+{names[2 * node - 3]}" for node in range(2, len(genes) // 2 + 2)]
    some_only = sorted(concat) != list(range(2, len(genes) // 2 + 2))
    return f"{cell}: {' '.join(nodes)}" + (f" concat {','.join(map(str, concat))}" if some_only else "")
