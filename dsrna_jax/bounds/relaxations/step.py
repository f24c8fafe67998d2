"""Functions with jumps, between constants."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import known_or, outward_sum


def constant_planes(node, hull: Interval, slopes=None) -> Planes:
    """Flat planes at the ends of an interval; slopes: zeros of the shapes of the parents, by default those of the node."""
    none = tuple(slopes or [jnp.zeros_like(node.value)] * len(node.parents))
    return Planes(none, none, -hull.lower, hull.upper)


@dataclasses.dataclass(frozen=True)
class Step:
    """A non-decreasing elementwise function with jumps: floor, ceil, round, sign. Its planes are flat.

    The interval is that of the ends, each moved outwards by four units of rounding.
    """

    roundings: ClassVar[int] = 0

    function: Callable

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        unit = 4 * jnp.finfo(x.dtype).eps
        low, high = x + interval.lower, x + interval.upper
        wide = high > low
        low = jnp.where(wide, low - unit * (jnp.abs(low) + jnp.abs(x)), low)
        high = jnp.where(wide, high + unit * (jnp.abs(high) + jnp.abs(x)), high)
        return Interval(self.function(low) - node.value, self.function(high) - node.value)

    def planes(self, node, intervals, slopes="adaptive"):
        return constant_planes(node, self.enclosure(node, intervals))


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
        low, high = (jnp.sort(x + side, self.axis) for side in (interval.lower, interval.upper))
        return Interval(low - node.value, high - node.value)

    def planes(self, node, intervals, slopes="adaptive"):
        (interval,), x = intervals, node.parents[0].value
        low, high = x + interval.lower, x + interval.upper
        size = x.shape[self.axis]
        outside = jnp.full_like(_part(x, self.axis, 0, 1), -jnp.inf)
        before, after = lax.cummax(high, self.axis), lax.cummax(-low, self.axis, reverse=True)
        ahead = jnp.concatenate([outside, _part(before, self.axis, 0, size - 1)], self.axis)
        behind = jnp.concatenate([_part(after, self.axis, 1, size), outside], self.axis)
        is_sure = (ahead <= low) & (high <= -behind)
        hull = self.enclosure(node, intervals)
        slope = jnp.where(is_sure, jnp.ones_like(x), 0)
        return Planes((slope,), (slope,), jnp.where(is_sure, 0, -hull.lower), jnp.where(is_sure, 0, hull.upper))


@dataclasses.dataclass(frozen=True)
class First:
    """The place, along the first axis of the parent, of the first of the largest entries. Its planes are flat.

    are_whole: whether the entries are whole numbers, so that the ends of their intervals are.
    """

    roundings: ClassVar[int] = 0

    are_whole: bool

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = outward_sum(x, interval.lower, -1), outward_sum(x, interval.upper, 1)
        if self.are_whole:
            low, high = jnp.ceil(low - 0.25), jnp.floor(high + 0.25)
        low, high = known_or(low, -jnp.inf), known_or(high, jnp.inf)
        ahead = jnp.concatenate([jnp.full_like(low[:1], -jnp.inf), lax.cummax(low, 0)[:-1]])
        may_lead = (high >= low.max(0)[None]) & ((high > ahead) | (ahead == -jnp.inf))
        places = jnp.arange(len(x), dtype=node.value.dtype).reshape(-1, *[1] * (x.ndim - 1))
        least, greatest = jnp.where(may_lead, places, len(x)).min(0), jnp.where(may_lead, places, -1).max(0)
        return Interval(jnp.minimum(least - node.value, 0), jnp.maximum(greatest - node.value, 0))

    def planes(self, node, intervals, slopes="adaptive"):
        return constant_planes(node, self.enclosure(node, intervals), [jnp.zeros_like(node.parents[0].value)])


def _part(x, axis, first, last):
    return jnp.take(x, jnp.arange(first, last), axis=axis)


@dataclasses.dataclass(frozen=True, eq=False)
class Remainder:
    """rem(x, divisor) by a constant: x minus a multiple of it where that multiple is certain, else the hull of all values."""

    roundings: ClassVar[int] = 1

    divisor: jax.Array

    def sure(self, low, high, x):
        """Mask of where the multiple is certain."""
        unit = jnp.where(high > low, 8 * jnp.finfo(x.dtype).eps * (jnp.abs(low) + jnp.abs(high)), 0)
        return jnp.trunc((low - unit) / self.divisor) == jnp.trunc((high + unit) / self.divisor)

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = x + interval.lower, x + interval.upper
        size, sure = jnp.abs(self.divisor), self.sure(low, high, x) | (high == low)
        least = jnp.where(low < 0, -jnp.minimum(-low, size), 0) - node.value
        most = jnp.where(high > 0, jnp.minimum(high, size), 0) - node.value
        return Interval(jnp.where(sure, interval.lower, least), jnp.where(sure, interval.upper, most))

    def planes(self, node, intervals, slopes="adaptive"):
        (interval,), x = intervals, node.parents[0].value
        low, high = x + interval.lower, x + interval.upper
        hull, sure = self.enclosure(node, intervals), self.sure(low, high, x) | (high == low)
        slope = jnp.where(sure, jnp.ones_like(x), 0)
        return Planes((slope,), (slope,), jnp.where(sure, 0, -hull.lower), jnp.where(sure, 0, hull.upper))
