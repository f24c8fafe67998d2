"""The structure of a network without its weights: branches, the plan of each cell, and its layout."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from dsrna_jax.genotypes.genotype import edges
from dsrna_jax.genotypes.operations import PRIMITIVES

Side = tuple[int, int]
"""Height and width of a map."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """One operation on one edge, from node `source` to node `target` (0 and 1 are the cell's inputs)."""

    source: int
    target: int
    primitive: str


class Part(NamedTuple):
    """A part of a network, by all that decides what it costs.

    name: of an operation, or "stem_cifar" and the like, "preprocess", "factorized_reduce" (of a larger input) or "head".
    entering, leaving: numbers of channels.
    height, width: of its input.
    stride: 1 or 2.
    """

    name: str
    entering: int
    leaving: int
    height: int
    width: int
    stride: int = 1


class CellPlan(NamedTuple):
    """The branches of a cell and the nodes that make up its output."""

    branches: tuple[Branch, ...]
    concat: tuple[int, ...]


class Layout(NamedTuple):
    """The facts that decide the shape of a cell; `before` and `last` are the channels of its inputs."""

    plan: CellPlan
    channels: int
    reduction: bool
    after_reduction: bool
    before: int
    last: int

    @property
    def output(self) -> int:
        """Channels of the output."""
        return len(self.plan.concat) * self.channels


def supernet_branches(nodes: int, primitives: Sequence[str] = PRIMITIVES) -> tuple[Branch, ...]:
    """All operations on all edges, edge by edge; without `none`, which adds nothing."""
    return tuple(Branch(s, t, p) for s, t in edges(nodes) for p in primitives if p != "none")


def genotype_branches(genes: Sequence[tuple[str, int, int]]) -> tuple[Branch, ...]:
    """The branches of a cell, from the (operation, source, target) of its edges."""
    return tuple(Branch(source, target, primitive) for primitive, source, target in genes)


def edges_of(branches: Sequence[Branch]) -> tuple[tuple[int, int], ...]:
    """The (source, target) pairs that carry a branch, in canonical order."""
    return tuple(sorted({(b.source, b.target) for b in branches}, key=lambda e: (e[1], e[0])))


def equal_runs(layouts: Sequence[Layout]) -> list[tuple[int, int]]:
    """(first, length) of each run of equal layouts."""
    runs: list[tuple[int, int]] = []
    for index, layout in enumerate(layouts):
        if runs and layouts[runs[-1][0]] == layout:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs
