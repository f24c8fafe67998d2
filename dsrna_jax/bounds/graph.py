"""A function as a graph of operations on the values that depend on its input.

A `Node` knows its value at the point where the function was traced, its parents, and how a *deviation* from that point passes
through it. All bounds are bounds of deviations: an affine operation is then linear, and an offset plays no part.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Linear:
    """An affine operation: how it maps deviations of its parents, and, by its absolute coefficients, bounds on their size.

    `both` maps a deviation and a size together, where that is less work than one after the other.
    `transposed` takes functionals of the result to those of the parents; by default it is derived from `deviation`.
    `unfolded`: how many entries of an example that has at hand at once, where it is more than the values have.
    `structural`: it only moves entries of one parent about, so that bounds of the parent's entries are bounds of its own.
    `singleton`: each entry depends on one entry of the parent, and no two on the same; `power(q)`, where the
    operation has one parent, is the operation with its coefficients' absolute values to the power q.
    `one_of`: which result this is of an operation with one parent and several results, whose functions give them all.
    """

    deviation: Callable
    magnitude: Callable
    both: Callable | None = None
    transposed: Callable | None = None
    unfolded: int = 0
    structural: bool = False
    singleton: bool = False
    power: Callable[[int], Callable] | None = None
    one_of: tuple[int, "Linear"] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One value: [..., batch, ...] at the point where f was traced."""

    index: int
    name: str
    operation: Any
    parents: tuple["Node", ...]
    value: jax.Array
    batch_axis: int

    @property
    def size(self) -> int:
        """Entries of one example."""
        return self.value.size // self.value.shape[self.batch_axis]


@dataclasses.dataclass(frozen=True, eq=False)
class Predicate:
    """A comparison of nodes and constants: a choice can use it, or a conversion to 0 and 1.

    outcome: of a test for NaN or infinity, which real arithmetic does not have; else None, and `difference` is left - right.
    """

    compare: str
    left: Any
    right: Any
    difference: Node | None
    outcome: bool | None = None


@dataclasses.dataclass
class Graph:
    """The nodes in the order of computation; `inputs` are the leaves of x, `output` is f(x)."""

    nodes: list[Node]
    inputs: tuple[Node, ...]
    output: Node
