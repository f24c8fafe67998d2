"""A function as a graph of operations on the values that depend on its input.

A `Node` holds its value at the point where the function was traced, its parents, and the operation that maps *deviations* of the
parents from that point to its own. All bounds are bounds of deviations: affine operations are then linear, and offsets vanish.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Linear:
    """An affine operation A of one or several parents.

    deviation: maps deviations of the parents to that of the result, d -> A d.
    magnitude: maps bounds of their absolute values, r -> |A| r.
    both: maps (*d, *r) to (A d, |A| r), if that is less work than `deviation` and `magnitude`.
    transposed: maps functionals of the result to those of the parents; derived from `deviation` where it is None.
    terms: the most products that are summed for an entry of the result; 0 for a sum of two, which is rounded relative to the
      result, constants included; None if nothing is rounded, as in moving entries or changing signs.
    shares: the most entries of the result that an entry of a parent contributes to: the terms of the transposed operation.
    increasing: whether all coefficients are at least 0, so that lower ends give the lower end.
    structural: whether it only moves entries of its one parent, so that bounds of the parent's entries bound the result's.
    singleton: whether each entry of the result depends on one entry of the parent, and no two on the same one.
    power: maps q to the operation with coefficients |A|^q; of operations with one parent.
    one_of: (i, whole) for result i of an operation with several results, whose `deviation` and `magnitude` return lists.
    errors: maps bounds of the absolute errors of the parents to that of the result, where it exceeds |A| times these: a fast
      Fourier transform adds what cancels exactly in the matrix. None for `magnitude`.
    windowed: the operation between windows; None if functionals are to hold all entries.
    """

    deviation: Callable
    magnitude: Callable
    both: Callable | None = None
    transposed: Callable | None = None
    terms: int | None = None
    shares: int = 1
    increasing: bool = False
    structural: bool = False
    singleton: bool = False
    power: Callable[[int], Callable] | None = None
    one_of: tuple[int, "Linear"] | None = None
    errors: Callable | None = None
    windowed: "Windowed | None" = None


@dataclasses.dataclass(frozen=True)
class Windowed:
    """The transposed of an affine operation, from functionals on windows of the result to such of the parents (`windows`).

    whole: maps a frame of the result to the axes along which functionals must hold all entries.
    reach: maps a frame without windows along these to the frames of the parents.
    pull: maps a `windows.Functional` of the result, zero outside of its map, to the rows of those of the parents, which may
      differ from zero outside of theirs.
    is_local: whether each entry of the result depends on those of the parents at the same place alone, so that `pull` takes rows
      that differ from zero outside of the map, and keeps zeros there.
    """

    whole: Callable
    reach: Callable
    pull: Callable
    is_local: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One value of the function, [..., batch, ...] at the trace point.

    operation: None for an input, a `Linear`, or a relaxation (see `relaxations`).
    """

    index: int
    name: str
    operation: Any
    parents: tuple["Node", ...]
    value: jax.Array
    batch_axis: int

    @property
    def size(self) -> int:
        """Number of entries of one example."""
        return self.value.size // self.value.shape[self.batch_axis]


def partial_before(node: Node) -> list[Node]:
    """The nodes, among a node and those before it, whose operations have no value at some numbers, such as log."""
    known, waiting = {node}, [node]
    while waiting:
        parents = set(waiting.pop().parents) - known
        known |= parents
        waiting += parents
    return [node for node in known if getattr(node.operation, "is_partial", False)]


@dataclasses.dataclass(frozen=True, eq=False)
class Predicate:
    """A comparison with a node, for `select_n` and for conversions to 0 and 1.

    compare: "gt", "ge", "lt", "le", "eq", "ne", "is_finite", "signbit" or "no signbit"; "known" and "unknown" are those of tests
      for NaN and infinity of a value that may be none.
    left, right: nodes or constants.
    difference: left - right; of tests for NaN and infinity, the value itself.
    value: its truth values at the trace point.
    outcome: the truth value if real arithmetic decides it, as in tests for NaN or infinity; `difference` is then None.
    """

    compare: str
    left: Any
    right: Any
    difference: Node | None
    value: jax.Array
    outcome: bool | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """Whole numbers that depend on the input.

    node: the same numbers in floating point.
    value: at the trace point.
    truths: the truth values that it is the place of the first true of, if it is known as such.
    """

    node: Node
    value: jax.Array
    truths: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Complex:
    """A complex value, as the nodes of its two parts; `is_real` if the imaginary one is known to be 0."""

    real: Node
    imaginary: Node
    is_real: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Refused:
    """A value without bounds. Its error is raised only if the output of f depends on it."""

    error: Exception


@dataclasses.dataclass
class Graph:
    """The nodes that f(x) depends on, in the order of computation. `inputs` are the leaves of x, `output` is f(x)."""

    nodes: list[Node]
    inputs: tuple[Node, ...]
    output: Node
