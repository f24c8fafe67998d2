"""Functions with jumps, between constants."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import ends, known_or, outward_sum
from dsrna_jax.kernels.reductions import max_over


def constant_planes(node, hull: Interval, slopes=None) -> Planes:
    """Flat planes at the ends of an interval; slopes: zeros of the shapes of the parents, by default those of the node."""
    none = tuple(slopes or [jnp.zeros_like(node.value)] * len(node.parents))
    return Planes(none, none, -hull.lower, hull.upper)


@dataclasses.dataclass(frozen=True)
class StepFunction:
    """A non-decreasing elementwise function with jumps: floor, ceil, round, trunc, sign.

    Its planes are flat; where it makes several steps of one, they are parallel to x.

    strays: the least and the greatest f(x) - x; None if these are not bounded.
    """

    roundings: ClassVar[int] = 0
    has_whole_values: ClassVar[bool] = True

    function: Callable
    strays: tuple[float, float] | None = None

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = ends(x, interval)
        return Interval(self.function(low) - node.value, self.function(high) - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        if self.strays is None:
            return constant_planes(node, hull)
        least, greatest = self.strays
        x, value = node.parents[0].value, node.value
        follows = hull.upper - hull.lower > greatest - least
        slope = jnp.where(follows, jnp.ones_like(value), 0)
        below, above = outward_sum(value - least, -x, 1), outward_sum(x, greatest - value, 1)
        return Planes((slope,), (slope,), jnp.where(follows, below, -hull.lower), jnp.where(follows, above, hull.upper))


@dataclasses.dataclass(frozen=True)
class Integers:
    """Whole numbers in an integer type: they move as the parent does where they stay in the type, else they may be any of it.

    The parent's values are whole, but for the rounding of its interval. Numbers that are too large for the parent's type to tell
    from their neighbours may be any, too.

    wraps: whether numbers beyond the type wrap around; if not, what they become depends on the device.
    """

    roundings: ClassVar[int] = 0
    has_whole_values: ClassVar[bool] = True

    dtype: np.dtype
    wraps: bool

    def stays(self, node, intervals):
        """Mask of where the values are those at the trace point plus the deviations of the parent."""
        (interval,), x, value = intervals, node.parents[0].value, node.value
        range_, exact = np.iinfo(self.dtype), 2.0 ** (jnp.finfo(x.dtype).nmant + 1)
        least, greatest = max(float(range_.min) - 1, -exact), min(float(range_.max) + 1, exact)
        is_at_point = jnp.remainder(x - value, 2.0**range_.bits) == 0 if self.wraps else x == value
        (low, high), (low_before, high_before) = ends(value, interval), ends(x, interval)
        is_exact = (low_before > -exact) & (high_before < exact)
        return (low > least) & (high < greatest) & is_exact & is_at_point

    def enclosure(self, node, intervals):
        (interval,), value, range_ = intervals, node.value, np.iinfo(self.dtype)
        least = outward_sum(jnp.full_like(value, float(range_.min)), -value, -1)
        greatest = outward_sum(jnp.full_like(value, float(range_.max)), -value, 1)
        stays = self.stays(node, intervals)
        return Interval(jnp.where(stays, jnp.ceil(interval.lower), least), jnp.where(stays, jnp.floor(interval.upper), greatest))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        stays = self.stays(node, intervals)
        slope = jnp.where(stays, jnp.ones_like(node.value), 0)
        return Planes((slope,), (slope,), jnp.where(stays, 0, -hull.lower), jnp.where(stays, 0, hull.upper))


@dataclasses.dataclass(frozen=True)
class Sorted:
    """A sort along an axis; the parent holds the entries in the order that they have at the trace point.

    Sorted values are non-decreasing in every entry, so that the interval is that of the sorted ends. An entry whose rank no other
    can take has itself for planes; the planes of others are flat.
    """

    roundings: ClassVar[int] = 1

    axis: int

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = (jnp.sort(end, self.axis) for end in ends(x, interval))
        return Interval(low - node.value, high - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (interval,), x = intervals, node.parents[0].value
        low, high = ends(x, interval)
        size = x.shape[self.axis]
        outside = jnp.full_like(_part(x, self.axis, 0, 1), -jnp.inf)
        before, after = lax.cummax(high, self.axis), lax.cummax(-low, self.axis, reverse=True)
        ahead = jnp.concatenate([outside, _part(before, self.axis, 0, size - 1)], self.axis)
        behind = jnp.concatenate([_part(after, self.axis, 1, size), outside], self.axis)
        is_sure = (ahead <= low) & (high <= -behind)
        slope = jnp.where(is_sure, jnp.ones_like(x), 0)
        return Planes((slope,), (slope,), jnp.where(is_sure, 0, -hull.lower), jnp.where(is_sure, 0, hull.upper))


@dataclasses.dataclass(frozen=True)
class First:
    """The place, along the first axis of the parent, of the first of the largest entries. Its planes are flat.

    are_whole: whether the entries are whole numbers, so that the ends of their intervals are.
    """

    roundings: ClassVar[int] = 0
    has_whole_values: ClassVar[bool] = True

    are_whole: bool

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = outward_sum(x, interval.lower, -1), outward_sum(x, interval.upper, 1)
        if self.are_whole:
            low, high = jnp.ceil(low - 0.25), jnp.floor(high + 0.25)
        low, high = known_or(low, -jnp.inf), known_or(high, jnp.inf)
        ahead = jnp.concatenate([jnp.full_like(low[:1], -jnp.inf), lax.cummax(low, 0)[:-1]])
        may_lead = (high >= max_over(low, 0)[None]) & ((high > ahead) | (ahead == -jnp.inf))
        places = jnp.arange(len(x), dtype=node.value.dtype).reshape(-1, *[1] * (x.ndim - 1))
        least, greatest = jnp.min(jnp.where(may_lead, places, len(x)), 0), jnp.max(jnp.where(may_lead, places, -1), 0)
        return Interval(jnp.minimum(least - node.value, 0), jnp.maximum(greatest - node.value, 0))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        return constant_planes(node, hull, [jnp.zeros_like(node.parents[0].value)])


def _part(x, axis, first, last):
    return jnp.take(x, jnp.arange(first, last), axis=axis)


@dataclasses.dataclass(frozen=True)
class Remainder:
    """rem(x, divisor): x minus a multiple of the divisor where that multiple is certain, else the hull of all values.

    The parents are (x, divisor). A divisor that may be 0 leaves no bounds: the remainder is NaN there.
    """

    roundings: ClassVar[int] = 1
    is_partial: ClassVar[bool] = True

    def multiple(self, node, intervals):
        """The whole number of divisors that is taken off at the trace point, and a mask of where it is certain."""
        (x, divisor), (dx, dd) = (p.value for p in node.parents), intervals
        quotients = [(x + a) / (divisor + b) for a in dx for b in dd]
        low, high = functools.reduce(jnp.minimum, quotients), functools.reduce(jnp.maximum, quotients)
        moves = (dx.upper > dx.lower) | (dd.upper > dd.lower)
        unit = jnp.where(moves, 16 * jnp.finfo(x.dtype).eps * (jnp.abs(low) + jnp.abs(high)), 0)
        sure = (jnp.trunc(low - unit) == jnp.trunc(high + unit)) | ~moves
        return lax.stop_gradient(jnp.round((x - node.value) / divisor)), sure & ~self.is_broken(node, intervals)

    def is_broken(self, node, intervals):
        """Mask of where the divisor may be 0."""
        divisor, dd = node.parents[1].value, intervals[1]
        return (outward_sum(divisor, dd.lower, -1) <= 0) & (outward_sum(divisor, dd.upper, 1) >= 0)

    def enclosure(self, node, intervals):
        (x, divisor), (dx, dd) = (p.value for p in node.parents), intervals
        low, high = outward_sum(x, dx.lower, -1), outward_sum(x, dx.upper, 1)
        size = jnp.maximum(jnp.abs(outward_sum(divisor, dd.lower, -1)), jnp.abs(outward_sum(divisor, dd.upper, 1)))
        least = outward_sum(jnp.where(low < 0, -jnp.minimum(-low, size), 0), -node.value, -1)
        most = outward_sum(jnp.where(high > 0, jnp.minimum(high, size), 0), -node.value, 1)
        count, sure = self.multiple(node, intervals)
        shifts = -count * dd.lower, -count * dd.upper
        below = outward_sum(dx.lower, jnp.minimum(*shifts), -1)
        above = outward_sum(dx.upper, jnp.maximum(*shifts), 1)
        sides = jnp.where(sure, below, least), jnp.where(sure, above, most)
        return Interval(*(jnp.where(self.is_broken(node, intervals), jnp.nan, side) for side in sides))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        count, sure = self.multiple(node, intervals)
        coefficients = (jnp.where(sure, jnp.ones_like(node.value), 0), jnp.where(sure, -count, 0))
        return Planes(coefficients, coefficients, jnp.where(sure, 0, -hull.lower), jnp.where(sure, 0, hull.upper))
