"""Sub-problems in which some hinges have chosen sides, and the bounds of the whole problem that they start from.

They are rows of arrays with a column for each entry of all hinges. A sub-problem starts from the slopes and multipliers that its
parent ended with.
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
from dsrna_jax.bounds.relaxations.hinge import adaptive_share
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.rounding import outward_sum
from dsrna_jax.bounds.specification import ROUNDED, Specification, lowest_rows
from dsrna_jax.bounds.verifier.beta_crown import Ends, ends_of, hinges_of, shaped
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.bounds.verifier.falsification import violations
from dsrna_jax.bounds.verifier.pairwise import splittable

Numbers = Array | np.ndarray


class Subproblems(NamedTuple):
    """A batch of sub-problems; `hinge` counts the entries of all hinges.

    clause: number of the clause that is to be certified.
    target: 0, or the number of the hinge's entry, from 1 on, whose operand is to be bounded in place of the clause: from below,
      or, with a minus, from above.
    sides: as in `beta_crown.Split`.
    shares: of the slopes of open hinges, 0 to 1.
    multipliers: at least 0.
    weights: of the rows of the clause, at least 0 with sum 1: if a positive combination of rows is positive, one of them is.
    """

    clause: Int[Numbers, " batch"]
    target: Int[Numbers, " batch"]
    sides: Int8[Numbers, "batch hinge"]
    shares: Float[Numbers, "batch hinge"]
    multipliers: Float[Numbers, "batch hinge"]
    weights: Float[Numbers, "batch row"]


class Bounded(NamedTuple):
    """The bounds of a batch of sub-problems, and where to split them.

    bound: lower bound of the combined rows, positive where the clause is certified; of a target, of its operand less the kink,
      or of minus that.
    problems: with the slopes, multipliers and weights of that bound.
    hinge: the entry to split next, and `children`, [2, batch], bounds of the sub-problems above and below its kink.
    has_open: whether any entry is left to split; of a target, any that it depends on.
    point, value: the input where the linear bound is least, and the least `violations` there.
    """

    bound: Float[Numbers, " batch"]
    problems: Subproblems
    hinge: Int[Numbers, " batch"]
    children: Float[Numbers, "2 batch"]
    has_open: Bool[Numbers, " batch"]
    point: Float[Numbers, "batch *input"]
    value: Float[Numbers, " batch"]


class Root(NamedTuple):
    """The parts that all sub-problems share.

    ends: intervals of the whole problem.
    low, high: bounds of the operands of hinges, less their kinks.
    shares: of CROWN's slopes.
    """

    ends: Ends
    low: Float[Numbers, " hinge"]
    high: Float[Numbers, " hinge"]
    shares: Float[Numbers, " hinge"]


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
def tightened(arrays, static, box: Box, ends: Ends, low: Float[Array, " hinge"], high: Float[Array, " hinge"]) -> Root:
    """The root with bounds of operands, less their kinks, that hold beside its intervals. A bound of 0 is the kink exactly."""
    graph, ends = splittable(joined(static, arrays), box.middle), dict(ends)
    hinges = hinges_of(graph)
    for node, below, above in zip(hinges, *(shaped(side[None], hinges) for side in (low, high)), strict=True):
        (parent,) = node.parents
        t = parent.value - node.operation.at
        lower, upper, error = ends[parent.index]
        lower = jnp.fmax(lower, jnp.where(below >= 0, -t, outward_sum(below, -t, -1)))
        upper = jnp.fmin(upper, jnp.where(above <= 0, -t, outward_sum(above, -t, 1)))
        ends[parent.index] = lower, upper, error
    return _root(graph, ends)


def _root(graph: Graph, ends: Ends) -> Root:
    sides = [node.operation.bounded_sides(node, Interval(*ends[node.parents[0].index][:2])) for node in hinges_of(graph)]
    if not sides:
        return Root(ends, *[jnp.zeros(0)] * 3)
    low, high = (jnp.concatenate([side[place].ravel() for side in sides]) for place in (1, 2))
    return Root(ends, low, high, adaptive_share(low, high))


def members_of(specification: Specification) -> np.ndarray:
    """Whether each row belongs to each clause: [clause, row]."""
    members = np.zeros((len(specification.of_every_row), np.shape(specification.offsets)[-1]), bool)
    for place, clause in enumerate(specification.of_every_row):
        members[place, list(clause)] = True
    return members
