"""sin and cos, angles, and functions of known range and steepest slope."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.relaxations.shared import shared
from dsrna_jax.bounds.relaxations.step import constant_planes
from dsrna_jax.bounds.rounding import ELEMENTARY, ends, gamma


@shared
@dataclasses.dataclass(frozen=True)
class Wave:
    """cos(x - peak), for x of any size.

    Where the curve is convex or concave over the interval, its planes have the slopes of the chord and of the middle's tangent;
    elsewhere both have the chord's, or are flat over more than half a period. For any slope s, the greatest and least values of
    cos(x - peak) - s x lie at the ends, or at those points with -sin(x - peak) = s that are next to the ends.
    """

    roundings: ClassVar[int] = 4

    peak: float

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`."""
        return jnp.ones_like(f)

    def function(self, x):
        return jnp.sin(x) if self.peak else jnp.cos(x)

    def slope(self, x):
        return jnp.cos(x) if self.peak else -jnp.sin(x)

    def extremes(self, low, high, slope):
        """Minimum and maximum of cos(x - peak) - slope * x for low <= x <= high."""
        bend = jnp.arcsin(jnp.clip(-slope, -1, 1))
        turn = 2 * np.pi
        sides = []
        for place, keep in ((self.peak + np.pi - bend, jnp.minimum), (self.peak + bend, jnp.maximum)):
            first = place + turn * jnp.ceil((low - place) / turn)
            last = place + turn * jnp.floor((high - place) / turn)
            points = [low, high, jnp.clip(first, low, high), jnp.clip(last, low, high)]
            best = None
            for point in points:
                value = self.function(point) - slope * point
                best = value if best is None else keep(best, value)
            sides.append(best)
        return sides

    def rounding(self, node, low, high, slope):
        """Allowance for cancellation, and for stationary points that are known up to the rounding of x."""
        eps = jnp.finfo(node.value.dtype).eps
        size = lax.stop_gradient(jnp.maximum(jnp.abs(low), jnp.abs(high)))
        slack = 8 * eps * (1 + jnp.abs(slope) * size) + jnp.square(8 * eps * size)
        return jnp.where(high > low, lax.stop_gradient(slack), 0)

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = ends(x, interval)
        least, most = self.extremes(low, high, jnp.zeros_like(x))
        slack = self.rounding(node, low, high, 0)
        least, most = jnp.maximum(least, -1) - slack, jnp.minimum(most, 1) + slack  # the value at the trace point is rounded
        bounded = jnp.isfinite(low) & jnp.isfinite(high)
        return Interval(jnp.where(bounded, least, -1) - node.value, jnp.where(bounded, most, 1) - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (interval,), x = intervals, node.parents[0].value
        low, high = ends(x, interval)
        wide = high > low
        middle = self.slope((low + high) / 2)
        chord = jnp.where(wide, ratio(self.function(high) - self.function(low), high - low), middle)
        concave, convex = node.value + hull.lower >= 0, node.value + hull.upper <= 0
        is_short = high - low <= np.pi
        below = jnp.where(is_short, jnp.where(convex, middle, chord), 0)
        above = jnp.where(is_short, jnp.where(concave, middle, chord), 0)
        least, most = self.extremes(low, high, below)[0], self.extremes(low, high, above)[1]
        below_gap = node.value - below * x - least + self.rounding(node, low, high, below)
        above_gap = most + above * x - node.value + self.rounding(node, low, high, above)
        bounded = jnp.isfinite(low) & jnp.isfinite(high)
        return Planes(
            (jnp.where(bounded, below, 0),),
            (jnp.where(bounded, above, 0),),
            jnp.where(bounded & is_short, below_gap, -hull.lower),
            jnp.where(bounded & is_short, above_gap, hull.upper),
        )


@dataclasses.dataclass(frozen=True)
class Limited:
    """An elementwise function between two numbers, of limited slope. Its planes are flat.

    least, most: bounds of its values.
    steepest: upper bound of its absolute slope.
    """

    roundings: ClassVar[int] = ELEMENTARY

    function: Callable
    least: float
    most: float
    steepest: float

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`."""
        return jnp.full_like(f, 2 * self.greatest)

    @property
    def greatest(self) -> float:
        return max(abs(self.least), abs(self.most))

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        half = (interval.upper - interval.lower) / 2
        middle = self.function(x + interval.lower + half)
        missed = gamma(8, x.dtype) * self.steepest * (jnp.abs(x) + half + 1) + gamma(ELEMENTARY, x.dtype) * 2 * self.greatest
        reach = self.steepest * half + jnp.where(half > 0, missed, 0)
        known = jnp.isfinite(middle) & jnp.isfinite(reach)
        low = jnp.where(known, jnp.maximum(middle - reach, self.least), self.least)
        high = jnp.where(known, jnp.minimum(middle + reach, self.most), self.most)
        slack = jnp.where(half > 0, gamma(ELEMENTARY, x.dtype) * 2 * self.greatest, 0)  # the value at the trace point is rounded
        return Interval(low - node.value - slack, high - node.value + slack)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        return constant_planes(node, hull)


@dataclasses.dataclass(frozen=True)
class Angle:
    """atan2(y, x): over a box without the origin that does not cross the negative x axis, its extremes lie at corners."""

    roundings: ClassVar[int] = ELEMENTARY

    def enclosure(self, node, intervals):
        (y, x), (dy, dx) = (p.value for p in node.parents), intervals
        corners = [jnp.arctan2(y + b, x + a) for a in (dx.lower, dx.upper) for b in (dy.lower, dy.upper)]
        slack = 8 * jnp.finfo(x.dtype).eps * np.pi * ((dx.upper > dx.lower) | (dy.upper > dy.lower))
        low = functools.reduce(jnp.minimum, corners) - slack
        high = functools.reduce(jnp.maximum, corners) + slack
        is_cut = (x + dx.lower <= 0) & (y + dy.lower <= 0) & (y + dy.upper >= 0) & (slack > 0) | ~jnp.isfinite(low + high)
        return Interval(jnp.where(is_cut, -np.pi, low) - node.value, jnp.where(is_cut, np.pi, high) - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        return constant_planes(node, hull)
