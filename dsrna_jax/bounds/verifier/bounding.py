"""The program that bounds a batch of sub-problems: an ascent on their variables, then the choice of the next splits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from dsrna_jax.bounds.backward import linear_lower_bound, lower_bound
from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier.batches import AscentVariables, Batch
from dsrna_jax.bounds.verifier.beta_crown import Restricted, flat
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.bounds.verifier.falsification import values_of, violations
from dsrna_jax.bounds.verifier.subproblems import Bounded, Numbers, Root, Subproblems
from dsrna_jax.kernels.reductions import min_over

CANDIDATES = 4  # splits that are tried for each sub-problem (filtered smart branching: De Palma et al. 2021, arXiv:2104.06718)
RATE, DECAY = 0.1, 0.98  # of Adam


@functools.partial(jax.jit, static_argnames=("static",))
def bounded(
    arrays,
    static,
    specification: Specification,
    box: Box,
    root: Root,
    problems: Subproblems,
    *,
    iterations: Int[Numbers, ""] | int,
    fewest: Int[Numbers, ""] | int,
) -> Bounded:
    """Bounds a batch of sub-problems: Adam on shares, multipliers and weights, then the choice of the next split.

    One program takes any number of `iterations`. After the `fewest`, the ascent ends if the mean gain of the steps so far would
    certify no further sub-problem of the batch.
    """
    f, count = joined(static, arrays), len(problems.clause)
    whole = Box(*(jnp.broadcast_to(side, (count, *side.shape[1:])) for side in (box.lower, box.upper)))
    batch = Batch.of(f, specification, whole, root, problems)
    of_parts = batch.restricted(problems.first, problems.last)
    best, least = _ascended(batch, of_parts, problems, iterations, fewest)
    neuron, children, has_open = _next_splits(batch, of_parts, best, least, problems)
    relaxed = batch.relaxed(best, of_parts)
    coefficients, _ = linear_lower_bound(batch.graph, relaxed, batch.graph.output, batch.functional(best)[0])
    slopes = jnp.zeros_like(whole.lower) if coefficients is None else coefficients[0][0]
    point = jnp.where(slopes > 0, whole.lower, whole.upper)
    value = min_over(violations(values_of(f(point), specification), specification), 1)
    return Bounded(least, problems._replace(**best._asdict()), neuron, children, has_open, point, value)


def _ascended(
    batch: Batch, of_parts: Restricted, problems: Subproblems, iterations, fewest
) -> tuple[AscentVariables, Float[Array, " batch"]]:
    """The variables of the best bound of every sub-problem that so many steps of Adam find, and the bounds."""

    def goes_on(carry):
        count, *_, first, least = carry
        foreseen = least + (least - first) * (iterations - count) / jnp.maximum(count - 1, 1)
        return (count < iterations) & ((count < fewest) | ((least <= 0) & (foreseen > 0)).any())

    def step(carry):
        count, variables, state, best, first, least = carry
        bounds, pull = jax.vjp(lambda variables: batch.bound(variables, of_parts), variables)
        (gradient,) = pull(jnp.ones_like(bounds))
        is_better = bounds > least
        best = jax.tree.map(lambda old, new: jnp.where(is_better[:, None], new, old), best, variables)
        updates, state = optimizer.update(jax.tree.map(jnp.negative, gradient), state)
        updates = updates._replace(shares=batch.paces[None] * updates.shares)  # pyright: ignore[reportAttributeAccessIssue]
        variables = batch.projected(optax.apply_updates(variables, updates), problems)  # pyright: ignore[reportArgumentType]
        first = jnp.where(count == 0, bounds, first)
        return count + 1, variables, state, best, first, jnp.fmax(least, bounds)

    optimizer = optax.adam(optax.exponential_decay(RATE, 1, DECAY))
    start = batch.projected(AscentVariables(problems.shares, problems.multipliers, problems.weights), problems)
    least = jnp.full(len(problems.clause), -jnp.inf, batch.rows.dtype)
    carry = jnp.zeros((), jnp.int32), start, optimizer.init(start), start, least, least
    *_, best, _, least = lax.while_loop(goes_on, step, carry)
    return best, least


def _next_splits(
    batch: Batch, of_parts: Restricted, variables: AscentVariables, least: Float[Array, " batch"], problems: Subproblems
) -> tuple[Int[Array, " batch"], Float[Array, "2 batch"], Bool[Array, " batch"]]:
    """`neuron`, `children` and `has_open` of `Bounded`: the candidates of highest score are tried."""
    scores, is_open = _scores(batch, of_parts, variables, problems)
    _, places = lax.top_k(scores, min(CANDIDATES, scores.shape[1]))

    def tried(place):
        def child(is_above):
            return jnp.fmax(batch.bound(variables, batch.halved(of_parts, problems, place, is_above)), least)

        return lax.map(child, jnp.array([True, False]))

    children = lax.map(tried, places.T)  # [candidate, half, batch]
    worth = min_over(jnp.minimum(children, 1e6), 1) + 1e-3 * jnp.minimum(children, 0).sum(1)
    chosen = jnp.where(jnp.take_along_axis(is_open, places, 1).T, worth, -jnp.inf).argmax(0)
    is_worth_splitting = is_open & ((scores > 0) | (jnp.asarray(problems.target) == 0)[:, None])
    return (
        jnp.take_along_axis(places, chosen[:, None], 1)[:, 0],
        jnp.take_along_axis(children, chosen[None, None], 0)[0],
        is_worth_splitting.any(1),
    )


def _scores(
    batch: Batch, of_parts: Restricted, variables: AscentVariables, problems: Subproblems
) -> tuple[Float[Array, "batch neuron"], Bool[Array, "batch neuron"]]:
    """Scores of how much each open neuron loosens the bound, and a mask of the open ones.

    The gradients of the bound by the gaps of the planes are the coefficients of the neurons. A neuron counts by its coefficient
    times the largest distance of its planes (as in BaBSR: Bunel et al. 2020, arXiv:1909.06588).
    """
    relaxed, functional = batch.relaxed(variables, of_parts), batch.functional(variables)[0]
    planes = {node: relaxed.planes(node) for node in batch.nodes}

    def bound(gaps):
        made = relaxed.made | {
            n: p._replace(lower_gap=g[0], upper_gap=g[1]) for (n, p), g in zip(planes.items(), gaps, strict=True)
        }
        of_gaps = dataclasses.replace(relaxed, made=made)
        return lower_bound(batch.graph, batch.area, of_gaps, batch.graph.output, functional).sum()

    gradients = jax.grad(bound)([(p.lower_gap, p.upper_gap) for p in planes.values()])
    can_be_cut = batch.by_node(jnp.asarray(problems.first) < problems.last)
    scores, is_open = [], []
    for (node, made), (by_lower, by_upper) in zip(planes.items(), gradients, strict=True):
        interval = relaxed.intervals[node.parents[0]]
        open_here = can_be_cut[node] & node.operation.is_undecided(node, interval)
        below, above = node.operation.looseness(node, interval, made)
        score = jnp.abs(by_upper) * above + jnp.abs(by_lower) * below
        scores.append(flat(jnp.where(open_here, score, -1), node))
        is_open.append(flat(open_here, node))
    return jnp.concatenate(scores, 1), jnp.concatenate(is_open, 1)
