"""alpha-CROWN: planes of operations optimised for every functional (Xu et al. 2021, arXiv:2011.13824).

Of hinges, the slopes of the lower planes are free; of smooth curves, where tangents touch; of products, all planes between the
two of McCormick on either side. Shares in [0, 1] stand for them.

Bounds of intermediate values are optimised as well, each for itself, layer by layer. The planes of a hinge can only tighten as
its interval does, so for hinges this is at least as tight as optimising all of them for the output together, and its gradients
stay short.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dsrna_jax.bounds.backward import Relaxed, lower_bound
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.options import Ascent, Shares
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import gamma, reach_of
from dsrna_jax.bounds.windows import Functional
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import is_known

PATIENCE, GAIN = 5, 1e-3  # steps without a gain, relative to a bound, after which its optimisation ends


Enough = Callable[[jax.Array], jax.Array]


def optimised_lower_bound(
    graph: Graph,
    ball: Ball,
    relaxed: Relaxed,
    target: Node,
    functional: jax.Array | Functional,
    ascent: Ascent,
    *,
    is_enough: Enough | None = None,
) -> jax.Array:
    """Lower bounds of functionals of the deviation of target, as `lower_bound`: those of `relaxed`, or better: [row, batch].

    The optimizer takes up to so many steps from the slopes of `relaxed`; a bound without a gain for `PATIENCE` steps is final.
    Any slopes in [0, 1] are sound: the best bound of all steps counts, and its derivative is that at its own slopes. Planes of
    other operations are those of `relaxed`.

    Args:
      is_enough: maps bounds [row, batch] to a mask of those that need not be tighter, and are final.
    """
    climb = _Climb.of(graph, ball, relaxed, target, functional, ascent)
    if not climb.views or not ascent.iterations:
        return climb.first
    state = climb.ended(is_enough)
    bound = climb.bound(lax.stop_gradient(state.kept))
    return jnp.fmax(climb.first, bound if ascent.shared else _with_derivative_of(state.best, bound))


def optimised_relaxation(
    graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional: Functional, ascent: Ascent
) -> Relaxed:
    """`relaxed` with the slopes that rows have in `optimised_lower_bound`, for linear bounds of the same functional."""
    climb = _Climb.of(graph, ball, relaxed, target, functional, ascent)
    if not climb.views or not ascent.iterations:
        return relaxed
    return climb.sloped(lax.stop_gradient(climb.ended().kept))


def shared_slopes(
    graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional: jax.Array, ascent: Ascent
) -> dict[Node, Shares]:
    """Shares of adjustable nodes, in the shapes of these, that rows have in `optimised_lower_bound` if they share them."""
    climb = _Climb.of(graph, ball, relaxed, target, functional, dataclasses.replace(ascent, shared=True))
    kept = climb.ended().kept if climb.views else []
    return dict(zip(climb.views, kept, strict=True))


@dataclasses.dataclass(frozen=True)
class _Climb:
    """The optimisation of the slopes for the rows of a functional.

    sloped: maps shares, a list in the order of the views, to nodes relaxed with them.
    bound: maps shares to lower bounds [row, batch].
    first: that of the slopes that are given.
    start: shares of each view, with an axis of rows unless they are shared.
    """

    sloped: Callable[[list[Shares]], Relaxed]
    bound: Callable[[list[Shares]], jax.Array]
    first: jax.Array
    views: dict[Node, "_View"]
    start: list[Shares]
    ascent: Ascent

    @classmethod
    def of(cls, graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional, ascent: Ascent) -> "_Climb":
        views: dict[Node, _View] = {}
        viewed = _Viewed(relaxed.intervals, relaxed.slopes, relaxed.made, views=views)
        first = lower_bound(graph, ball, viewed, target, functional)
        fixed = {node: planes for node, planes in relaxed.made.items() if node not in views}

        def sloped(shares):
            return _Sloped(relaxed.intervals, made=fixed, views=views, shares=dict(zip(views, shares, strict=True)))

        def bound(shares):
            return lower_bound(graph, ball, sloped(shares), target, functional)

        start = [shares_of(node, relaxed) if ascent.shared else view.shares for node, view in views.items()]
        return cls(sloped, bound, first, views, lax.stop_gradient(start), ascent)

    def score(self, lower: jax.Array) -> jax.Array:
        """The goal of the climb: the bound of each row, or, of rows that share slopes, their sum by example, [1, batch]."""
        return lower.sum(0, keepdims=True) if self.ascent.shared else lower

    def ended(self, is_enough: Enough | None = None) -> "_State":
        """The state after all steps."""

        def total(shares):
            lower = self.bound(shares)
            score = self.score(lower)
            return score.sum(), (score, is_final(lower))

        def is_final(lower):
            enough = jnp.zeros(lower.shape, bool) if is_enough is None else is_enough(lower)
            return enough.all(0, keepdims=True) if self.ascent.shared else enough

        def goes_on(state: _State):
            return (state.step <= self.ascent.iterations) & (state.idle < PATIENCE).any()

        def climb(state: _State):
            gradient, (score, is_last) = jax.grad(total, has_aux=True)(state.shares)
            is_better = (state.idle < PATIENCE) & (score > state.best)
            gains = is_better & (score > state.best + GAIN * jnp.abs(state.best))
            masks = [_beside(is_better[0] if self.ascent.shared else is_better, node) for node in self.views]
            kept = [
                jax.tree.map(functools.partial(jnp.where, mask), now, old)
                for mask, now, old in zip(masks, state.shares, state.kept, strict=True)
            ]
            gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), -g, 0), gradient)
            updates, after = optimizer.update(gradient, state.optimizer, state.shares)
            shares = jax.tree.map(lambda pace, s, u: jnp.clip(s + pace * u, 0, 1), paces, state.shares, updates)
            best = jnp.where(is_better, score, state.best)
            idle = jnp.where(is_better & is_last, PATIENCE, jnp.where(gains, 0, state.idle + 1))
            return _State(state.step + 1, idle, shares, after, best, kept)

        optimizer = self.ascent.steps
        pairs = zip(self.views, self.start, strict=True)
        paces = [jax.tree.map(lambda _, pace=node.operation.pace: pace, shares) for node, shares in pairs]
        shape = self.score(self.first).shape
        worst, idle = jnp.full(shape, -jnp.inf, self.first.dtype), jnp.where(is_final(self.first), PATIENCE, 0)
        state = _State(jnp.zeros((), jnp.int32), idle, self.start, optimizer.init(self.start), worst, self.start)
        return lax.while_loop(goes_on, climb, state)


def is_adjustable(node: Node) -> bool:
    """Whether the planes of a node are free to be chosen by shares."""
    return hasattr(node.operation, "adjustable")


def shares_of(node: Node, relaxed: Relaxed) -> Shares:
    """The shares of an adjustable node in `relaxed`."""
    if not isinstance(relaxed.slopes, str) and node in relaxed.slopes:
        return relaxed.slopes[node]
    return node.operation.adjustable(node, [relaxed.intervals[parent] for parent in node.parents])[1]


def slopes_by_node(graph: Graph, slopes: Mapping[str, Shares]) -> dict[Node, Shares]:
    """The caller's shares by the names of operations, cut to 0 to 1, as `Relaxed.slopes`.

    Raises: InputError for names of no adjustable operation, and shares that do not fit its value.
    """
    nodes = {node.name: node for node in graph.nodes if is_adjustable(node)}
    known = {}
    for name, shares in slopes.items():
        if name not in nodes:
            raise InputError(f"slopes of {name!r}: f has those of {', '.join(nodes) or 'no operation'}")
        node = nodes[name]
        shape, is_pair = node.value.shape, node.operation.has_two_shares
        parts: tuple[Any, ...] = tuple(shares) if is_pair and isinstance(shares, tuple | list) else (shares,)
        if len(parts) != 1 + is_pair or any(jnp.shape(part) != shape for part in parts):
            wanted = f"two arrays (below, above) of shape {shape}" if is_pair else f"of shape {shape}"
            got = ", ".join(str(jnp.shape(part)) for part in parts)
            raise InputError(f"slopes of {name} must be {wanted}, got {got}")
        if any(is_known(part) and np.isnan(part).any() for part in parts):
            raise InputError(f"slopes of {name} hold NaN")
        cut = tuple(jnp.clip(jnp.asarray(part, node.value.dtype), 0, 1) for part in parts)
        known[node] = cut if is_pair else cut[0]
    return known


class _State(NamedTuple):
    """The optimisation after some steps: `kept` are the shares of the best bounds, `idle` [row, batch] steps without a gain."""

    step: jax.Array
    idle: jax.Array
    shares: list[Shares]
    optimizer: optax.OptState
    best: jax.Array
    kept: list[Shares]


class _View(NamedTuple):
    """An adjustable node where the rows of a functional lie: all arrays have an axis of rows (or 1) in front of the batch axis.

    known: of its operation, what planes depend on beside the shares.
    shares: of the planes that CROWN takes.
    error, errors_of_parents: rounding, absolute and by the coefficients.
    inside: 0 outside of the map, and 1 elsewhere.
    """

    known: Any
    shares: Shares
    error: jax.Array
    errors_of_parents: list[jax.Array]
    inside: jax.Array


def _view(functional: Functional, relaxed: Relaxed) -> _View:
    node, read, intervals = functional.node, functional.read, relaxed.intervals
    known, _ = node.operation.adjustable(node, [intervals[parent] for parent in node.parents])
    errors = [
        intervals.error(parent) + gamma(intervals.uses[parent] + 4, node.value.dtype) * reach_of(intervals[parent])
        for parent in node.parents
    ]

    def for_each_row(share):
        share = read(share)
        return jnp.broadcast_to(share, jnp.broadcast_shapes(share.shape, functional.rows.shape))

    return _View(
        jax.tree.map(read, known),
        jax.tree.map(for_each_row, shares_of(node, relaxed)),
        read(intervals.error(node)),
        [read(lax.stop_gradient(error)) for error in errors],
        read(jnp.ones_like(node.value)),
    )


@dataclasses.dataclass(frozen=True)
class _Viewed(Relaxed):
    """Relaxed nodes that keep a view of each adjustable node that a backward pass meets."""

    views: dict[Node, _View] = dataclasses.field(default_factory=dict)

    def planes_on(self, functional: Functional) -> Planes:
        if is_adjustable(functional.node):
            self.views[functional.node] = _view(functional, self)
        return super().planes_on(functional)


@dataclasses.dataclass(frozen=True)
class _Sloped(_Viewed):
    """Relaxed nodes, the adjustable ones with shares for every row or, in the shape of the node, the same for all."""

    shares: dict[Node, Shares] = dataclasses.field(default_factory=dict)

    def planes_on(self, functional: Functional) -> Planes:
        node = functional.node
        if node not in self.shares:
            return Relaxed.planes_on(self, functional)
        view = self.views[node]
        shares = jax.tree.map(lambda s: functional.read(s) if s.ndim == node.value.ndim else s, self.shares[node])
        planes = node.operation.adjusted(view.known, shares)
        sides = []
        for coefficients, gap in ((planes.lower, planes.lower_gap), (planes.upper, planes.upper_gap)):
            errors = [jnp.abs(c) * error for c, error in zip(coefficients, view.errors_of_parents, strict=True)]
            widened = functools.reduce(jnp.add, errors, gap + view.error)
            sides.append((tuple(view.inside * c for c in coefficients), view.inside * widened))
        (lower, lower_gap), (upper, upper_gap) = sides
        return Planes(lower, upper, lower_gap, upper_gap)


def _beside(mask, node: Node):
    """A mask [row, batch] in the layout of rows of functionals of a node, or [batch] in that of the node."""
    shape = [1] * (node.value.ndim + mask.ndim - 1)
    shape[node.batch_axis : node.batch_axis + mask.ndim] = mask.shape
    return mask.reshape(shape)


@jax.custom_jvp
def _with_derivative_of(best, bound):
    """The first, with the derivative of the second, which is dead code unless it is differentiated."""
    return best


@_with_derivative_of.defjvp
def _with_derivative_of_jvp(primals, tangents):
    return primals[0], tangents[1]
