"""alpha-CROWN: lower slopes of hinges optimised for every functional (Xu et al. 2021, arXiv:2011.13824).

Bounds of intermediate values are optimised as well, each for itself, layer by layer. A bound can only tighten as the intervals
before it do, so this is at least as tight as optimising all of them for the output together, and its gradients stay short.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsrna_jax.bounds.backward import Relaxed, lower_bound
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.relaxations.hinge import Hinge, adaptive_share
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.relaxations.shared import Seen
from dsrna_jax.bounds.rounding import gamma, reach_of
from dsrna_jax.bounds.windows import Functional

PATIENCE, GAIN = 5, 1e-3  # steps without a gain, relative to a bound, after which its optimisation ends


def optimised_lower_bound(
    graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional: jax.Array | Functional, iterations: int
) -> jax.Array:
    """Lower bounds of functionals of the deviation of target, as `lower_bound`: those of `relaxed`, or better: [row, batch].

    Adam takes up to `iterations` steps, from the slopes of CROWN; a bound that has not gained for `PATIENCE` steps is final. Any
    slopes in [0, 1] are sound: the best bound of all steps counts, and its derivative is that at its own slopes. Planes of other
    operations are those of `relaxed`.
    """
    views: dict[Node, _View] = {}
    first = lower_bound(graph, ball, _Viewed(relaxed.intervals, relaxed.slopes, relaxed.made, views=views), target, functional)
    if not views or not iterations:
        return first
    fixed = {node: planes for node, planes in relaxed.made.items() if node not in views}

    def bound(shares):
        sloped = _Sloped(relaxed.intervals, made=fixed, views=views, shares=dict(zip(views, shares, strict=True)))
        return lower_bound(graph, ball, sloped, target, functional)

    def total(shares):
        lower = bound(shares)
        return lower.sum(), lower

    def goes_on(state: _State):
        return (state.step <= iterations) & (state.idle < PATIENCE).any()

    def climb(state: _State):
        gradient, lower = jax.grad(total, has_aux=True)(state.shares)
        is_better = (state.idle < PATIENCE) & (lower > state.best)
        gains = is_better & (lower > state.best + GAIN * jnp.abs(state.best))
        kept = [
            jnp.where(_beside(is_better, node), now, old) for node, now, old in zip(views, state.shares, state.kept, strict=True)
        ]
        updates, adam = optimizer.update(jax.tree.map(jnp.negative, gradient), state.adam)
        shares = jax.tree.map(lambda s, u: jnp.clip(s + u, 0, 1), state.shares, updates)
        best = jnp.where(is_better, lower, state.best)
        return _State(state.step + 1, jnp.where(gains, 0, state.idle + 1), shares, adam, best, kept)

    optimizer = optax.adam(optax.exponential_decay(0.5, 1, 0.98))
    start = [lax.stop_gradient(view.share) for view in views.values()]
    worst, idle = jnp.full(first.shape, -jnp.inf, first.dtype), jnp.zeros(first.shape, jnp.int32)
    state = _State(jnp.zeros((), jnp.int32), idle, start, optimizer.init(start), worst, start)
    state = lax.while_loop(goes_on, climb, state)
    best = _with_derivative_of(state.best, bound([lax.stop_gradient(shares) for shares in state.kept]))
    return jnp.fmax(first, best)


class _State(NamedTuple):
    """The optimisation after some steps: `kept` are the shares of the best bounds, `idle` [row, batch] steps without a gain."""

    step: jax.Array
    idle: jax.Array
    shares: list[jax.Array]
    adam: optax.OptState
    best: jax.Array
    kept: list[jax.Array]


class _View(NamedTuple):
    """A hinge where the rows of a functional lie: all arrays have an axis of rows (or 1) in front of the batch axis.

    share: of the slope that CROWN takes.
    error, error_of_parent: rounding, absolute and by the coefficient.
    inside: 0 outside of the map, and 1 elsewhere.
    """

    operation: Any
    node: Seen
    interval: Interval
    share: jax.Array
    error: jax.Array
    error_of_parent: jax.Array
    inside: jax.Array


def _view(functional: Functional, intervals: Intervals) -> _View:
    node, read = functional.node, functional.read
    (parent,) = node.parents
    operation, interval = node.operation, intervals[parent]
    parts = {name: getattr(operation, name) for name in ("left", "right", "at")}
    on_windows = {name: read(jnp.broadcast_to(part, node.value.shape)) for name, part in parts.items() if jnp.ndim(part)}
    _, low, high = operation.bounded_sides(node, interval)
    share = read(adaptive_share(low, high))
    shape = jnp.broadcast_shapes(share.shape, functional.rows.shape)
    error = intervals.error(parent) + gamma(intervals.uses[parent] + 4, node.value.dtype) * reach_of(interval)
    return _View(
        dataclasses.replace(operation, **on_windows),
        Seen(read(node.value), (Seen(read(parent.value)),)),
        Interval(read(interval.lower), read(interval.upper)),
        jnp.broadcast_to(share, shape),
        read(intervals.error(node)),
        read(lax.stop_gradient(error)),
        read(jnp.ones_like(node.value)),
    )


@dataclasses.dataclass(frozen=True)
class _Viewed(Relaxed):
    """Relaxed nodes that keep a view of each hinge that a backward pass meets."""

    views: dict[Node, _View] = dataclasses.field(default_factory=dict)

    def planes_on(self, functional: Functional) -> Planes:
        if isinstance(functional.node.operation, Hinge):
            self.views[functional.node] = _view(functional, self.intervals)
        return super().planes_on(functional)


@dataclasses.dataclass(frozen=True)
class _Sloped(_Viewed):
    """Relaxed nodes whose hinges have slopes of their own for every row."""

    shares: dict[Node, jax.Array] = dataclasses.field(default_factory=dict)

    def planes_on(self, functional: Functional) -> Planes:
        if functional.node not in self.shares:
            return Relaxed.planes_on(self, functional)
        view = self.views[functional.node]
        planes = view.operation.planes(view.node, [view.interval], self.shares[functional.node])
        sides = []
        for (coefficient,), gap in ((planes.lower, planes.lower_gap), (planes.upper, planes.upper_gap)):
            widened = gap + view.error + jnp.abs(coefficient) * view.error_of_parent
            sides.append(((view.inside * coefficient,), view.inside * widened))
        (lower, lower_gap), (upper, upper_gap) = sides
        return Planes(lower, upper, lower_gap, upper_gap)


def _beside(mask, node: Node):
    """A mask [row, batch] in the layout of rows of functionals of a node."""
    shape = [1] * (node.value.ndim + 1)
    shape[node.batch_axis : node.batch_axis + 2] = mask.shape
    return mask.reshape(shape)


@jax.custom_jvp
def _with_derivative_of(best, bound):
    """The first, with the derivative of the second, which is dead code unless it is differentiated."""
    return best


@_with_derivative_of.defjvp
def _with_derivative_of_jvp(primals, tangents):
    return primals[0], tangents[1]
