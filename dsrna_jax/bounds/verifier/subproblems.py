"""Sub-problems in which operands of some neurons lie on parts of their intervals, and the bounds that they start from.

They are rows of arrays with a column for each neuron. A sub-problem starts from the shares and multipliers that its parent ended
with.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int8

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.output import output_bounds
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.rounding import outward_sum
from dsrna_jax.bounds.specification import ROUNDED, Specification, lowest_rows
from dsrna_jax.bounds.verifier.beta_crown import Borders, Ends, borders_of, ends_of, shaped, with_neurons
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.bounds.verifier.falsification import violations
from dsrna_jax.bounds.verifier.pairwise import splittable

Numbers = Array | np.ndarray


class Subproblems(NamedTuple):
    """A batch of sub-problems; `neuron` counts the entries of all operations that can be split, as `beta_crown` does.

    clause: number of the clause that is to be certified.
    target: 0, or the number of a neuron, from 1 on, whose operand is to be bounded in place of the clause: from below, or, with a
      minus, from above.
    first, last: numbers of the pieces of its interval between which the operand of each neuron lies.
    shares: of the planes of neurons, 0 to 1: all of hinges; of other operations those of the planes below, then those above.
    multipliers: at least 0 for a restriction from below, and at most 0 for one from above.
    weights: of the rows of the clause, at least 0 with sum 1: if a positive combination of rows is positive, one of them is.
    """

    clause: Int[Numbers, " batch"]
    target: Int[Numbers, " batch"]
    first: Int8[Numbers, "batch neuron"]
    last: Int8[Numbers, "batch neuron"]
    shares: Float[Numbers, "batch share"]
    multipliers: Float[Numbers, "batch neuron"]
    weights: Float[Numbers, "batch row"]

    @classmethod
    def whole(cls, root: "Root", clause: int, members: Bool[Numbers, " row"], target: int = 0) -> "Subproblems":
        """One sub-problem in which all neurons are whole, of a clause with these rows, or of a target."""
        last = np.asarray(root.last)
        numbers, first, multipliers = np.array([clause, target], np.int32), np.zeros_like(last), np.zeros(len(last), np.float32)
        return cls(numbers[0], numbers[1], first, last, np.asarray(root.shares), multipliers, members.astype(np.float32))

    def half(self, neuron: int, *, is_above: bool) -> "Subproblems":
        """The part of one sub-problem above, or below, the middle border of a neuron."""
        middle = (int(self.first[neuron]) + int(self.last[neuron]) + 1) // 2
        moved = np.array(self.first if is_above else self.last)
        moved[neuron] = middle if is_above else middle - 1
        return self._replace(first=moved) if is_above else self._replace(last=moved)


class Bounded(NamedTuple):
    """The bounds of a batch of sub-problems, and where to split them.

    bound: lower bound of the combined rows, positive where the clause is certified; of a target, of its operand less its middle
      border, or of minus that.
    problems: with the shares, multipliers and weights of that bound.
    neuron: the one to split next, and `children`, [2, batch], bounds of the two halves.
    has_open: whether any neuron is left to split; of a target, any that it depends on.
    point, value: the input where the linear bound is least, and the least `violations` there.
    """

    bound: Float[Numbers, " batch"]
    problems: Subproblems
    neuron: Int[Numbers, " batch"]
    children: Float[Numbers, "2 batch"]
    has_open: Bool[Numbers, " batch"]
    point: Float[Numbers, "batch *input"]
    value: Float[Numbers, " batch"]


class Root(NamedTuple):
    """The parts that all sub-problems share.

    ends: intervals of the whole problem.
    borders: between the pieces of neurons, of which `last` are the numbers of the last.
    low, high: bounds of the operands of neurons, less their middle borders: those of hinges, less their kinks.
    shares: of CROWN's planes.
    """

    ends: Ends
    borders: Borders
    last: Int8[Numbers, " neuron"]
    low: Float[Numbers, " neuron"]
    high: Float[Numbers, " neuron"]
    shares: Float[Numbers, " share"]


@functools.partial(jax.jit, static_argnames=("static", "method"))
def root(arrays, static, specification: Specification, box: Box, *, method: str) -> tuple[Root, Float[Array, " clause"]]:
    """Bounds the whole problem.

    Returns: the parts that its sub-problems share, and bounds of the clauses, positive where they are certified without a split.
    """
    graph = splittable(joined(static, arrays), box.middle)
    whole = output_bounds(graph, Options(method=method, box=box))
    by_clause = violations(lowest_rows(whole, specification, ROUNDED), specification)
    return _root(graph, ends_of(graph, whole.relaxations[0].intervals)), by_clause[0]


@functools.partial(jax.jit, static_argnames=("static",))
def tightened(arrays, static, box: Box, root: Root, low: Float[Array, " neuron"], high: Float[Array, " neuron"]) -> Root:
    """The root with bounds of operands of hinges, less their kinks, that hold beside its intervals; 0 is the kink exactly."""
    graph, ends = splittable(joined(static, arrays), box.middle), dict(root.ends)
    nodes = with_neurons(graph)
    for node, below, above in zip(nodes, *(shaped(side[None], nodes) for side in (low, high)), strict=True):
        if node.operation.pieces != 2:
            continue
        (parent,) = node.parents
        t = parent.value - node.operation.at
        (lower, upper), error = ends[parent.index]
        lower = jnp.fmax(lower, jnp.where(below >= 0, -t, outward_sum(below, -t, -1)))
        upper = jnp.fmin(upper, jnp.where(above <= 0, -t, outward_sum(above, -t, 1)))
        ends[parent.index] = Interval(lower, upper), error
    return _root(graph, ends)


def _root(graph: Graph, ends: Ends) -> Root:
    nodes, borders = with_neurons(graph), borders_of(graph, ends)
    last, low, high, shares = [np.zeros(0, np.int8)], [jnp.zeros(0)], [jnp.zeros(0)], [jnp.zeros(0)]
    for node in nodes:
        operation, (parent,) = node.operation, node.parents
        interval = ends[parent.index][0]
        t = parent.value - borders[node.index][operation.pieces // 2 - 1]
        last.append(np.full(node.size, operation.pieces - 1, np.int8))
        low.append((t + interval.lower).ravel())
        high.append((t + interval.upper).ravel())
        shares += [share.ravel() for share in jax.tree.leaves(operation.adjustable(node, [interval])[1])]
    return Root(ends, borders, *map(jnp.concatenate, (last, low, high, shares)))


def members_of(specification: Specification) -> np.ndarray:
    """Whether each row belongs to each clause: [clause, row]."""
    members = np.zeros((len(specification.of_every_row), np.shape(specification.offsets)[-1]), bool)
    for place, clause in enumerate(specification.of_every_row):
        members[place, list(clause)] = True
    return members
