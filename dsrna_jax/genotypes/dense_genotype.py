"""The dense genotype: a normal and a reduction cell in which no edge is pruned, as plain data (SNAS, arXiv:1812.09926)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.genotype import CELL_TYPES, MOST_NODES, edge_count, edges
from dsrna_jax.genotypes.operations import OPERATIONS


@dataclass(frozen=True)
class DenseGenotype:
    """The operation of every edge of a normal and of a reduction cell, in the order of `genotype.edges`.

    An edge with `none` carries nothing. The output of a cell concatenates all intermediate nodes. Lists become tuples.

    Raises: InputError if the genotype describes no network.
    """

    normal: tuple[str, ...]
    reduction: tuple[str, ...]

    groups = CELL_TYPES

    def __post_init__(self):
        for cell in CELL_TYPES:
            object.__setattr__(self, cell, _checked(cell, getattr(self, cell)))
        if len(self.normal) != len(self.reduction):
            raise InputError(
                f"the two cells of a dense genotype have equally many edges; got {len(self.normal)} in the normal and "
                f"{len(self.reduction)} in the reduction cell"
            )

    @property
    def nodes(self) -> int:
        """Number of intermediate nodes of a cell."""
        return _nodes(len(self.normal))

    def genes(self, cell: str) -> tuple[tuple[str, int, int], ...]:
        """(operation, source, target) of every edge of a cell that carries an operation."""
        every = zip(getattr(self, cell), edges(self.nodes), strict=True)
        return tuple((name, source, target) for name, (source, target) in every if name != "none")

    def concat(self, cell: str) -> tuple[int, ...]:
        """The nodes that make up the output of a cell: all intermediate ones."""
        return tuple(range(2, 2 + self.nodes))

    def __str__(self) -> str:
        """One line a cell, e.g. `normal: 2<-sep_conv_3x3(0)+skip_connect(1) 3<-...`."""
        return "\n".join(f"{cell}: {self._line(cell)}" for cell in CELL_TYPES)

    def _line(self, cell):
        into = {node: [f"{name}({s})" for name, s, t in self.genes(cell) if t == node] for node in self.concat(cell)}
        return " ".join(f"{node}<-{'+'.join(names)}" for node, names in into.items())


def _nodes(count: int) -> int:
    return next((nodes for nodes in range(1, MOST_NODES + 1) if edge_count(nodes) == count), 0)


def _checked(cell: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, Sequence) or isinstance(names, str) or not _nodes(len(names)):
        raise InputError(
            f"expected the operations of the {cell} cell as a list of 2, 5, 9, 14, ..., one an edge; got {shown(names)}"
        )
    for index, name in enumerate(names):
        if not isinstance(name, str) or name not in OPERATIONS:
            raise InputError(
                f"unknown operation {shown(name)} on edge {index} of the {cell} cell; known are {', '.join(OPERATIONS)}"
            )
    nodes = _nodes(len(names))
    targets = {target for (_, target), name in zip(edges(nodes), names, strict=True) if name != "none"}
    if len(targets) < nodes:
        raise InputError(f"a node of the {cell} cell has no edge: expected an operation other than none into each node")
    return tuple(names)
