"""RobNet's cells as plain data: a code for every edge; no edge is pruned (Guo et al. 2020, arXiv:1911.10695)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.genotype import Gene, edge_count, edges

# Two bits an edge: skip connection, separable convolution. An edge with both sums them.
CODES = {
    "00": (),
    "01": ("sep_conv_3x3",),
    "10": ("skip_connect",),
    "11": ("sep_conv_3x3", "skip_connect"),
}


@dataclass(frozen=True)
class RobNet:
    """The codes of one cell, which all cells share, or of each cell of the network.

    A cell lists its edges in the order of `genotype.edges`; normal and reduction cells read the same code. Its output
    concatenates all intermediate nodes. Batch norms have neither scale nor bias. Lists become tuples.

    Raises: InputError if the codes describe no network.
    """

    cells: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        if not isinstance(self.cells, Sequence) or isinstance(self.cells, str) or not self.cells:
            raise InputError(f"expected a RobNet as a list of cells, each a list of codes; got {shown(self.cells)}")
        object.__setattr__(self, "cells", tuple(_checked(cell, number) for number, cell in enumerate(self.cells)))
        if len(set(map(len, self.cells))) > 1:
            raise InputError("the cells of a RobNet have equally many edges; got different numbers of codes")

    @property
    def nodes(self) -> int:
        """Number of intermediate nodes of a cell."""
        return _nodes(len(self.cells[0]))

    def branches(self, cell: int) -> tuple[tuple[Gene, int], ...]:
        """((operation, source), target) of everything on the edges of cell number `cell`."""
        code = self.cells[cell % len(self.cells)]
        return tuple(((name, s), t) for (s, t), bits in zip(edges(self.nodes), code, strict=True) for name in CODES[bits])

    def check_depth(self, cells: int) -> None:
        """Raises: InputError unless a network of `cells` cells can be built."""
        if len(self.cells) not in (1, cells):
            raise InputError(f"this RobNet has a code for each of {len(self.cells)} cells: expected cells={len(self.cells)}")

    def __str__(self) -> str:
        """One line a cell."""
        return "\n".join(f"cell {number}: {' '.join(code)}" for number, code in enumerate(self.cells))


def _nodes(codes: int) -> int:
    return next((nodes for nodes in range(1, 10) if edge_count(nodes) == codes), 0)


def _checked(cell: Any, number: int) -> tuple[str, ...]:
    if not isinstance(cell, Sequence) or isinstance(cell, str) or not _nodes(len(cell)):
        raise InputError(f"expected cell {number} of a RobNet as a list of 2, 5, 9 or 14 codes, one an edge; got {shown(cell)}")
    for index, bits in enumerate(cell):
        if not isinstance(bits, str) or bits not in CODES:
            raise InputError(f"code {index} of cell {number} of a RobNet is {shown(bits)}: expected one of {', '.join(CODES)}")
    targets = [target for (_, target), bits in zip(edges(_nodes(len(cell))), cell, strict=True) if bits != "00"]
    if len(set(targets)) < _nodes(len(cell)):
        raise InputError(f"a node of cell {number} of a RobNet has no edge: expected a code other than 00 into each node")
    return tuple(cell)
