"""alpha-CROWN: lower slopes of hinges optimised for every functional (Xu et al. 2021, arXiv:2011.13824).

Bounds of intermediate values are optimised as well, each for itself, layer by layer. A bound can only tighten as the intervals
before it do, so this is at least as tight as optimising all of them for the output together, and its gradients stay short.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsrna_jax.bounds.backward import Relaxed, lower_bound
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.relaxations.hinge import Hinge, adaptive_share

PATIENCE, GAIN = 3, 1e-3  # steps without a gain, relative to a bound, after which its optimisation ends


def optimised_lower_bound(graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, rows, iterations: int) -> jax.Array:
    """Lower bounds of functionals of the deviation of target, rows [row, *target shape] -> [row, batch].

    Adam takes up to `iterations` steps, from the slopes of CROWN; a bound that has not gained for `PATIENCE` steps is final. Any
    slopes in [0, 1] are sound: the best bound of all steps counts, and its derivative is that at its own slopes. Planes of other
    operations are those of `relaxed`. Without hinges there is nothing to optimise, and the result is -inf.
    """
    intervals = relaxed.intervals
    hinges = [n for n in graph.nodes if isinstance(n.operation, Hinge) and n.index < target.index]
    count = len(rows)
    worst = jnp.full((count, ball.radius.shape[0]), -jnp.inf, rows.dtype)
    if not hinges:
        return worst
    fixed = {node: planes for node, planes in relaxed.made.items() if node not in hinges}

    def initial(node):
        _, low, high = node.operation.bounded_sides(node, intervals[node.parents[0]])
        return jnp.broadcast_to(adaptive_share(low, high), (count, *low.shape))

    def bound(shares):
        slopes = dict(zip(hinges, shares, strict=True))
        return lower_bound(graph, ball, Relaxed(intervals, slopes, dict(fixed)), target, rows)

    def total(shares):
        lower = bound(shares)
        return lower.sum(), lower

    def goes_on(state: _State):
        return (state.step <= iterations) & (state.idle < PATIENCE).any()

    def climb(state: _State):
        gradient, lower = jax.grad(total, has_aux=True)(state.shares)
        open_still = state.idle < PATIENCE
        is_better = open_still & (lower > state.best)
        gains = is_better & (lower > state.best + GAIN * jnp.abs(state.best))
        kept = [
            jnp.where(_beside(is_better, node), now, old) for node, now, old in zip(hinges, state.shares, state.kept, strict=True)
        ]
        updates, adam = optimizer.update(jax.tree.map(jnp.negative, gradient), state.adam)
        shares = jax.tree.map(lambda s, u: jnp.clip(s + u, 0, 1), state.shares, updates)
        best = jnp.where(is_better, lower, state.best)
        return _State(state.step + 1, jnp.where(gains, 0, state.idle + 1), shares, adam, best, kept)

    optimizer = optax.adam(optax.exponential_decay(0.5, 1, 0.98))
    start = [lax.stop_gradient(initial(node)) for node in hinges]
    step, idle = jnp.zeros((), jnp.int32), jnp.zeros(worst.shape, jnp.int32)
    state = lax.while_loop(goes_on, climb, _State(step, idle, start, optimizer.init(start), worst, start))
    return _with_derivative_of(state.best, bound([lax.stop_gradient(shares) for shares in state.kept]))


class _State(NamedTuple):
    """The optimisation after some steps: `kept` are the shares of the best bounds, `idle` [row, batch] steps without a gain."""

    step: jax.Array
    idle: jax.Array
    shares: list[jax.Array]
    adam: optax.OptState
    best: jax.Array
    kept: list[jax.Array]


def _beside(mask, node: Node):
    """A mask [row, batch] in the shape of a node with an axis of rows in front."""
    shape = [len(mask), *[1] * node.value.ndim]
    shape[1 + node.batch_axis] = mask.shape[1]
    return mask.reshape(shape)


@jax.custom_jvp
def _with_derivative_of(best, bound):
    """The first, with the derivative of the second, which is dead code unless it is differentiated."""
    return best


@_with_derivative_of.defjvp
def _with_derivative_of_jvp(primals, tangents):
    return primals[0], tangents[1]
