"""Sub-problems in which some hinges have chosen sides, bounded in batches of one compiled program.

They are rows of arrays with a column for each entry of all hinges. A sub-problem starts from the slopes and multipliers that its
parent ended with.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8

from dsrna_jax.bounds.backward import linear_lower_bound, lower_bound
from dsrna_jax.bounds.balls import Box, boxed
from dsrna_jax.bounds.checks import check_memory
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.output import output_bounds
from dsrna_jax.bounds.relaxations.hinge import adaptive_share
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import spans
from dsrna_jax.bounds.rounding import EVALUATION, gamma, outward_sum, reach_of
from dsrna_jax.bounds.specification import Specification, lowest
from dsrna_jax.bounds.verifier.beta_crown import Ends, OfSubproblems, Split, ends_of, flat, hinges_of, shaped
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.bounds.verifier.falsification import values_of, violations
from dsrna_jax.bounds.verifier.pairwise import splittable

CANDIDATES = 4  # splits that are tried for each sub-problem (filtered smart branching: De Palma et al. 2021, arXiv:2104.06718)
RATE, DECAY = 0.1, 0.98  # of Adam
ROUNDED = 1.0  # a radius for `lowest`, which takes values at radius 0 as they are: proofs allow for rounding there too

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
def root(arrays, static, box: Box, *, method: str) -> Root:
    """Bounds the whole problem."""
    graph = splittable(joined(static, arrays), box.middle)
    check_memory(graph, method, chunk=64, iterations=20)
    return _root(graph, ends_of(graph, output_bounds(graph, Options(method=method, box=box)).relaxations[0].intervals))


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


@functools.partial(jax.jit, static_argnames=("static",))
def bounded(
    arrays,
    static,
    specification: Specification,
    box: Box,
    ends: Ends,
    problems: Subproblems,
    *,
    iterations: Int[Numbers, ""] | int,
) -> Bounded:
    """Bounds a batch of sub-problems: Adam on slopes, multipliers and weights, then the choice of the next split.

    One program takes any number of `iterations`.
    """
    count = len(problems.clause)
    whole = Box(*(jnp.broadcast_to(side, (count, *side.shape[1:])) for side in (box.lower, box.upper)))
    f = joined(static, arrays)
    graph = splittable(f, whole.middle)
    check_memory(graph, "crown_ibp", chunk=64, iterations=20)
    area = boxed([leaf.value for leaf in graph.inputs], whole, None)
    output, hinges = graph.output.value, hinges_of(graph)
    rows, offsets = specification.functionals(output)
    has_alternatives = max(map(len, specification.of_every_row)) > 1
    of_clause = jnp.asarray(members_of(specification))[problems.clause] & (jnp.asarray(problems.target) == 0)[:, None]
    signs = jnp.sign(problems.target).astype(output.dtype)[:, None]
    objective = signs * jax.nn.one_hot(jnp.abs(problems.target) - 1, problems.sides.shape[1], dtype=output.dtype)
    operands = jnp.concatenate([flat(node.parents[0].value - node.operation.at, node) for node in hinges], 1)
    to_kink = (objective * operands).sum(1)

    def by_hinge(entries):
        return dict(zip(hinges, shaped(entries, hinges), strict=True))

    def relaxed(sides, variables):
        intervals = OfSubproblems(graph, EVALUATION, ends, by_hinge(sides))
        return Split(
            intervals,
            by_hinge(variables["shares"]),
            sides=by_hinge(sides),
            multipliers=by_hinge(variables["multipliers"]),
            objectives=by_hinge(objective),
        )

    def combined(variables):
        weights = variables["weights"].T
        return jnp.einsum("rb,rb...->b...", weights, rows)[None], (jnp.einsum("rb,rb->b", weights, offsets) + to_kink)[None]

    def bound(variables, sides):
        functional, offset = combined(variables)
        relaxation = relaxed(sides, variables)
        lower = lower_bound(graph, area, relaxation, graph.output, functional)
        least = lowest(functional, offset, output, lower, ROUNDED)[0]
        if not has_alternatives:
            return least
        # The rounding of the combination itself, wherever the outputs are.
        size = jnp.abs(output) + reach_of(relaxation.intervals[graph.output])
        terms = jnp.einsum("rb,rb...,b...->b", variables["weights"].T, jnp.abs(rows), size)
        terms = terms + jnp.einsum("rb,rb->b", variables["weights"].T, jnp.abs(offsets))
        return least - 2 * gamma(len(rows) + output[0].size + 4, output.dtype) * lax.stop_gradient(terms)

    def projected(variables):
        weights = jnp.where(of_clause, jnp.maximum(variables["weights"], 0), 0)
        total = weights.sum(1, keepdims=True)
        return {
            "shares": jnp.clip(variables["shares"], 0, 1),
            "multipliers": jnp.maximum(variables["multipliers"], 0),
            "weights": jnp.where(
                total > 0, weights / jnp.where(total > 0, total, 1), of_clause / jnp.maximum(of_clause.sum(1, keepdims=True), 1)
            ),
        }

    def climb(_, carry):
        variables, state, best, least = carry
        value, gradient = jax.value_and_grad(lambda v: (lambda b: (b.sum(), b))(bound(v, problems.sides)), has_aux=True)(
            variables
        )
        value = value[1]
        better = value > least
        best = jax.tree.map(lambda old, new: jnp.where(better[:, None], new, old), best, variables)
        updates, state = optimizer.update(jax.tree.map(jnp.negative, gradient), state)
        variables = projected(optax.apply_updates(variables, updates))
        return variables, state, best, jnp.fmax(least, value)

    optimizer = optax.adam(optax.exponential_decay(RATE, 1, DECAY))
    start = projected({"shares": problems.shares, "multipliers": problems.multipliers, "weights": problems.weights})
    least = jnp.full(count, -jnp.inf, output.dtype)
    _, _, best, least = lax.fori_loop(0, iterations, climb, (start, optimizer.init(start), start, least))

    functional = combined(best)[0]
    scores, is_open = _scores(graph, area, relaxed(problems.sides, best), by_hinge(best["shares"]), functional)
    _, places = lax.top_k(scores, min(CANDIDATES, scores.shape[1]))

    def tried(place):
        def child(side):
            sides = jnp.asarray(problems.sides).at[jnp.arange(count), place].set(side)
            return jnp.fmax(bound(best, sides), least)

        return lax.map(child, jnp.array([1, -1], jnp.int8))

    children = lax.map(tried, places.T)  # [candidate, side, batch]
    is_candidate = jnp.take_along_axis(is_open, places, 1).T
    chosen = jnp.where(is_candidate, jnp.minimum(children, 1e6).min(1) + 1e-3 * jnp.minimum(children, 0).sum(1), -jnp.inf).argmax(
        0
    )
    coefficients, _ = linear_lower_bound(graph, relaxed(problems.sides, best), graph.output, functional)
    slopes = jnp.zeros_like(whole.lower) if coefficients is None else coefficients[0][0]
    point = jnp.where(slopes > 0, whole.lower, whole.upper)
    value = violations(values_of(f(point), specification), specification).min(1)
    return Bounded(
        least,
        problems._replace(shares=best["shares"], multipliers=best["multipliers"], weights=best["weights"]),
        jnp.take_along_axis(places, chosen[:, None], 1)[:, 0],
        jnp.take_along_axis(children, chosen[None, None], 0)[0],
        (is_open & ((scores > 0) | (jnp.asarray(problems.target) == 0)[:, None])).any(1),
        point,
        value,
    )


def _scores(graph, area, relaxed: Split, shares, functional):
    """Scores of how much each open entry loosens the bound, [batch, hinge], and a mask of the open entries.

    The gradients of the bound by the gaps of the planes are the coefficients of the entries. An entry counts by its coefficient
    times the largest distance between hinge and plane (as in BaBSR: Bunel et al. 2020, arXiv:1909.06588).
    """
    planes = {node: relaxed.planes(node) for node in shares}

    def bound(gaps):
        made = relaxed.made | {
            n: p._replace(lower_gap=g[0], upper_gap=g[1]) for (n, p), g in zip(planes.items(), gaps, strict=True)
        }
        return lower_bound(graph, area, dataclasses.replace(relaxed, made=made), graph.output, functional).sum()

    gradients = jax.grad(bound)([(p.lower_gap, p.upper_gap) for p in planes.values()])
    scores, is_open = [], []
    for node, (by_lower, by_upper) in zip(shares, gradients, strict=True):
        operation = node.operation
        _, low, high = operation.bounded_sides(node, relaxed.intervals[node.parents[0]])
        open_here = spans(low, high)
        bend = jnp.abs(operation.right - operation.left)
        chord_gap = bend * -low * high / jnp.where(open_here, high - low, 1)
        share = shares[node]
        line_gap = bend * jnp.maximum(share * -low, (1 - share) * high)
        convex = operation.right >= operation.left
        above, below = jnp.where(convex, chord_gap, line_gap), jnp.where(convex, line_gap, chord_gap)
        score = jnp.abs(by_upper) * above + 0.1 * jnp.abs(by_lower) * below
        scores.append(flat(jnp.where(open_here, score, -1), node))
        is_open.append(flat(open_here, node))
    return jnp.concatenate(scores, 1), jnp.concatenate(is_open, 1)


def members_of(specification: Specification) -> np.ndarray:
    """Whether each row belongs to each clause: [clause, row]."""
    members = np.zeros((len(specification.of_every_row), np.shape(specification.offsets)[-1]), bool)
    for place, clause in enumerate(specification.of_every_row):
        members[place, list(clause)] = True
    return members
