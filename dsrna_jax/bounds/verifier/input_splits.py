"""Branch and bound that cuts the box of inputs: complete for any function whose bounds tighten as boxes shrink.

A box that is not certified is halved along the input that matters most to the linear bounds of its undecided rows, by the
coefficient times the width (smart branching, Bunel et al. 2018, arXiv:1711.00455, here by CROWN's planes).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dsrna_jax.bounds.backward import linear_lower_bound
from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.forward import relaxed_inputs
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.output import bounded_output
from dsrna_jax.bounds.specification import ROUNDED, Specification, lowest_rows
from dsrna_jax.bounds.verifier.compiled import Traceable, joined
from dsrna_jax.bounds.verifier.falsification import values_of, violations
from dsrna_jax.bounds.verifier.verdict import INDIVISIBLE, Outcome, over
from dsrna_jax.kernels.reductions import max_over, min_over

LEAST = 0.01  # the least coefficient that counts, relative to the largest
# Of a batch: entries that backward passes bound, times entries of all nodes. CROWN's time is about proportional to it.
WORK = 1e9


class BoundedBoxes(NamedTuple):
    """The bounds of a batch of sub-boxes, and where to cut them.

    is_certified: whether the property holds in the whole box.
    bound: the least over clauses of the largest lower bound of a row; positive where it is certified.
    entry: the entry of the input, counted in the flat array, to halve the box along.
    point: the input at which the property comes closest to failing, of those that were tried.
    value: its least `violations`.
    """

    is_certified: Bool[Array, " box"]
    bound: Float[Array, " box"]
    entry: Int[Array, " box"]
    point: Float[Array, "box *input"]
    value: Float[Array, " box"]


@functools.partial(jax.jit, static_argnames=("static", "method"))
def bounded(arrays, static, specification: Specification, box: Box, *, method: str) -> BoundedBoxes:
    """Bounds a batch of sub-boxes. The corners at which linear bounds are least are tried as counterexamples."""
    f = joined(static, arrays)
    over_boxes = bounded_output(f, box.middle, Options(method=method, box=box))
    graph, output = over_boxes.graph, over_boxes.value
    (rows, _), lower = specification.functionals(output), lowest_rows(over_boxes, specification, ROUNDED)
    by_clause = violations(lower, specification)
    coefficients, _ = linear_lower_bound(graph, over_boxes.relaxations[0], graph.output, rows)
    slopes = jnp.zeros((len(rows), *box.lower.shape), output.dtype) if coefficients is None else coefficients[0]
    width = box.upper - box.lower
    undecided = jnp.zeros(lower.shape, bool)
    for place, clause in enumerate(specification.of_every_row):
        undecided = undecided.at[:, list(clause)].max((by_clause[:, place] <= 0)[:, None])
    weights = jnp.where(undecided.T.reshape(*undecided.T.shape, *[1] * (width.ndim - 1)), jnp.abs(slopes), 0).sum(0)
    weights, widths = weights.reshape(len(width), -1), width.reshape(len(width), -1)
    # An entry without a coefficient matters too, by its planes: it has its turn when the others are narrow.
    least = LEAST * max_over(weights, 1, keepdims=True)
    entry = (jnp.where(least > 0, jnp.maximum(weights, least), 1) * widths).argmax(1)
    corners = jnp.where(slopes > 0, box.lower[None], box.upper[None])
    points = jnp.concatenate([corners, box.middle[None]])
    tried = jax.vmap(lambda x: min_over(violations(values_of(f(x), specification), specification), 1))(points)
    tried = jnp.where(jnp.isnan(tried), jnp.inf, tried)
    best = tried.argmin(0)
    point = jnp.take_along_axis(points, best.reshape(1, -1, *[1] * (width.ndim - 1)), 0)[0]
    return BoundedBoxes((by_clause > 0).all(1), min_over(by_clause, 1), entry, point, min_over(tried, 0))


def boxes_at_once(graph: Graph, most: int, method: str) -> int:
    """The sub-boxes to bound at a time: `most`, or fewer of a large graph, whose first bound is not to take as long as many."""
    options = Options(method=method)
    passes = 3 * options.iterations if options.record.optimises else 1
    work = passes * sum(node.size for node in relaxed_inputs(graph)) * sum(node.size for node in graph.nodes)
    return max(1, min(most, int(WORK // max(work, 1))))


def is_certified_at(
    f: Traceable, specification: Specification, point: np.ndarray, *, batch: int, method: str, seconds_left: Callable[[], float]
) -> bool:
    """Whether bounds certify the property at one input: if not, since they allow for rounding, they certify no box that holds it.

    Args:
      specification: of one box.
      The rest as in `search`, whose program this uses.
    """
    box, first = Box(point[None], point[None]), np.zeros(batch, int)
    result = bounded(f.arrays, f.static, specification.of_examples(first), box.of_examples(first), method=method)
    return bool(result.is_certified[0])


def search(
    f: Traceable, specification: Specification, boxes: Box, *, batch: int, method: str, seconds_left: Callable[[], float]
) -> Outcome:
    """Halves boxes until the property is certified everywhere, fails somewhere, or the time is over.

    Args:
      specification: with rows and offsets of each box.
      boxes: [box, ...], arrays of NumPy.
      batch: sub-boxes bounded at a time, by one compiled program.
      seconds_left: the seconds that are left.
    """
    count = len(boxes.lower)
    waiting, waiting_bounds, number, branches = boxes, np.full(count, -np.inf, np.float32), np.arange(count), 0
    while len(waiting_bounds):
        if seconds_left() <= 0:
            return Outcome("unknown", None, over(len(np.unique(number)), count), branches)
        first = np.argsort(waiting_bounds, kind="stable")[:batch]  # the worst first
        rest = np.setdiff1d(np.arange(len(waiting_bounds)), first, assume_unique=True)
        filled = np.resize(first, batch)
        taken, its = waiting.of_examples(filled), number[first]
        result = jax.device_get(bounded(f.arrays, f.static, specification.of_examples(number[filled]), taken, method=method))
        branches += len(first)
        least = np.nan_to_num(result.value[: len(first)], nan=np.inf).argmin()
        if result.value[least] <= 0:
            return Outcome("counterexample", result.point[least], "a corner of a sub-box", branches, int(its[least]))
        left = np.flatnonzero(~result.is_certified[: len(first)])
        children, is_divisible = halves(taken.of_examples(left), result.entry[left])
        if not is_divisible.all():
            return Outcome("unknown", None, INDIVISIBLE, branches)
        waiting = jax.tree.map(lambda old, new: np.concatenate([old[rest], new]), waiting, children)  # noqa: B023
        waiting_bounds = np.concatenate([waiting_bounds[rest], np.tile(result.bound[left], 2)])
        number = np.concatenate([number[rest], np.tile(its[left], 2)])
    return Outcome("verified", None, "every sub-box is certified", branches)


def halves(box: Box, entry: np.ndarray) -> tuple[Box, np.ndarray]:
    """The two halves of each box along one entry, first all lower ones, then all upper ones; and whether both are smaller."""
    shape = np.shape(box.lower)[1:]
    lower, upper = (np.reshape(side, (len(entry), math.prod(shape))) for side in (box.lower, box.upper))
    every = np.arange(len(entry))
    low, high = lower[every, entry], upper[every, entry]
    middle = low + (high - low) / 2
    below, above = upper.copy(), lower.copy()
    below[every, entry], above[every, entry] = middle, middle
    ends = np.concatenate([lower, above]).reshape(-1, *shape), np.concatenate([below, upper]).reshape(-1, *shape)
    return Box(*ends), (low < middle) & (middle < high)
