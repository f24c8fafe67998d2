"""Functions with one kink: relu, leaky relu, abs, and the like."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, distances, ratio, spans
from dsrna_jax.bounds.relaxations.shared import Seen
from dsrna_jax.bounds.rounding import gamma, reach_of
from dsrna_jax.inputs import is_known
from dsrna_jax.kernels.reductions import larger, smaller

OF_FREE = 0.1  # what the distance of the plane counts whose slope is free, beside that of the chord


@dataclasses.dataclass(frozen=True)
class Hinge:
    """left * t where t < 0, right * t where t >= 0, of t = x - at: relu, leaky relu, abs, max and min with a constant."""

    roundings: ClassVar[int] = 1
    has_two_shares: ClassVar[bool] = False
    pace: ClassVar[float] = 1.0
    pieces: ClassVar[int] = 2

    left: float | jax.Array
    right: float | jax.Array
    at: float | jax.Array = 0.0

    def bounded_sides(self, node, interval):
        """t at the trace point, and its lower and upper bound."""
        t = node.parents[0].value - self.at
        return t, t + interval.lower, t + interval.upper

    def is_undecided(self, node, interval):
        """Mask of the entries whose interval spans the kink; elsewhere the hinge is linear."""
        _, low, high = self.bounded_sides(node, interval)
        return spans(low, high)

    def enclosure(self, node, intervals):
        (interval,) = intervals
        t, low, high = self.bounded_sides(node, interval)
        first, second = (change(t, side, self.left, self.right) for side in (interval.lower, interval.upper))
        if is_known(self.left, self.right) and min(np.min(self.left), np.min(self.right)) >= 0:
            if number(self.at) == 0:
                return Interval(first, second)
            slack = self.rounding(t, interval, spans(low, high))
            return Interval(first - slack, second + slack)
        down, up = smaller(first, second), larger(first, second)
        bottom = -(jnp.where(t >= 0, self.right, self.left) * t)  # the kink's own value, 0, less phi(t)
        undecided = spans(low, high)
        slack = self.rounding(t, interval, undecided)
        return Interval(
            jnp.where(undecided, smaller(down, bottom), down) - slack,
            jnp.where(undecided, larger(up, bottom), up) + slack,
        )

    def rounding(self, t, interval, undecided):
        """Bound of the rounding error of a difference of values on both sides of the kink, inside of the interval.

        t is rounded unless the kink is at 0, and may then reach the kink where t + d as computed does not.
        """
        if number(self.at) != 0:
            undecided |= reach_of(interval) >= jnp.abs(t) * (1 - gamma(8, t.dtype))
        slopes = [abs(self.left), abs(self.right)]
        slope = max(slopes) if np.ndim(slopes[0]) == np.ndim(slopes[1]) == 0 and is_known(*slopes) else jnp.maximum(*slopes)
        return lax.stop_gradient(jnp.where(undecided, gamma(8, t.dtype) * slope * reach_of(interval), 0))

    def borders(self, x, interval):
        return jnp.broadcast_to(self.at, x.shape)[None].astype(x.dtype)

    def looseness(self, node, interval, planes):
        t, _, _ = self.bounded_sides(node, interval)
        points = interval.lower, -t, interval.upper
        below, above = distances(planes, [(point, change(t, point, self.left, self.right)) for point in points])
        convex = self.right >= self.left  # then the plane below is free
        return jnp.where(convex, OF_FREE, 1) * below, jnp.where(convex, 1, OF_FREE) * above

    def adjustable(self, node, intervals):
        (interval,) = intervals
        parts = {name: getattr(self, name) for name in ("left", "right", "at")}
        arrays = {name: jnp.broadcast_to(part, node.value.shape) for name, part in parts.items() if jnp.ndim(part)}
        _, low, high = self.bounded_sides(node, interval)
        return (Seen(node.value, (Seen(node.parents[0].value),)), interval, arrays), adaptive_share(low, high)

    def adjusted(self, known, shares):
        node, interval, arrays = known
        return dataclasses.replace(self, **arrays).planes(node, [interval], shares)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (interval,) = intervals
        t, low, high = self.bounded_sides(node, interval)
        undecided = spans(low, high)
        value = jnp.where(t >= 0, self.right, self.left) * t
        decided = jnp.where(low >= 0, self.right, self.left)
        chord = ratio(self.right * high - self.left * low, jnp.where(undecided, high - low, 1))
        slack = self.rounding(t, interval, undecided)
        # Of a decided entry 0, unless the trace point lies on the other side, outside of the interval.
        chord_gap = jnp.where(undecided, self.left * low - chord * interval.lower, decided * t) - value
        share = adaptive_share(low, high) if isinstance(slopes, str) else slopes
        free = chord if isinstance(slopes, str) and slopes == "parallel" else self.left + share * (self.right - self.left)
        chord = jnp.where(undecided, chord, decided)
        # Optimised slopes have an axis of rows in front of those of the node.
        to_rank = functools.partial(lax.broadcast_to_rank, rank=jnp.ndim(free))
        value, t, undecided, decided, free_slack = map(to_rank, (value, t, undecided, decided, slack))
        free = jnp.where(undecided, free, decided)
        free_gap = value - free * t
        convex = np.asarray(self.right >= self.left) if is_known(self.left, self.right) else self.right >= self.left
        if isinstance(convex, np.ndarray) and convex.all():
            return Planes((free,), (chord,), free_gap + free_slack, chord_gap + slack)
        convex, chord, chord_gap = convex if np.ndim(convex) == 0 else to_rank(convex), to_rank(chord), to_rank(chord_gap)
        pick = lambda a, b: jnp.where(convex, a, b)  # noqa: E731
        lower_gap, upper_gap = pick(free_gap, -chord_gap) + free_slack, pick(chord_gap, -free_gap) + free_slack
        return Planes((pick(free, chord),), (pick(chord, free),), lower_gap, upper_gap)


@jax.custom_jvp
def change(t, d, left, right):
    """phi(t + d) - phi(t) of a hinge, without cancellation where t and t + d lie on one side of the kink."""
    end = t + d
    here, there = t >= 0, end >= 0
    crossed = jnp.where(there, right * end - left * t, left * end - right * t)
    return jnp.where(here == there, jnp.where(here, right, left) * d, crossed)


@functools.partial(change.defjvp, symbolic_zeros=True)
def _change_jvp(values, tangents):
    """Keeps two comparisons for the backward pass, where autodiff of the formula would keep three."""
    t, d, left, right = values
    there, here = (jnp.where(x >= 0, right, left) for x in (t + d, t))
    sides = (jnp.minimum(t + d, 0) - jnp.minimum(t, 0), jnp.maximum(t + d, 0) - jnp.maximum(t, 0))
    parts = zip((there - here, there, *sides), tangents, strict=True)
    moved = [coefficient * tangent for coefficient, tangent in parts if not isinstance(tangent, SymbolicZero)]
    return change(*values), functools.reduce(jnp.add, moved)


def adaptive_share(low, high):
    """1 where more of the interval lies right of the kink, else 0: this minimises the area between the planes (CROWN)."""
    return (high > -low).astype(low.dtype)
