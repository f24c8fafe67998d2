"""Smooth functions of one variable, between chords and tangents."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations import tangents
from dsrna_jax.bounds.relaxations.bisection import crossing
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, distances, ratio
from dsrna_jax.bounds.relaxations.shared import shared
from dsrna_jax.bounds.relaxations.tangents import Side
from dsrna_jax.bounds.rounding import ELEMENTARY, ends, gamma, smallest_normal
from dsrna_jax.kernels.reductions import max_over, min_over

LEAST = 0.125  # of an interval, on either side of its middle border


@shared
@dataclasses.dataclass(frozen=True)
class Curve:
    """A smooth function of one variable, by where its second derivative changes sign.

    Where the curve is convex over the interval, the upper slope is the chord's and the lower one the tangent's at the middle;
    where it is concave, the other way round. With one inflection inside, slopes are those of tangents through the far ends.
    `tangents` has those that are sound in their place. For any slope the gap is the largest distance to the curve, over the ends
    and the stationary points: at most one between inflections, found by bisection.

    Args:
      function: elementwise, twice differentiable in JAX except at the inflections.
      inflections: the points where the second derivative changes sign, ascending; () for a convex or concave function.
      poles: points where the function has no value; intervals that contain one have no bounds.
      size: maps |x| and |function(x)| to the scale of the rounding error of an evaluation, increasing with both; by default
        |function(x)|, for functions that are evaluated to a few units of rounding.
      least: a number that the argument is known not to be below, whatever its interval.
      signs: 1 or -1, of the second derivative between the inflections. By default they are computed at the middles between
        inflections, and at a distance of 1 beyond the first and the last.
    """

    roundings: ClassVar[int] = ELEMENTARY
    has_two_shares: ClassVar[bool] = True
    pace: ClassVar[float] = 0.1
    pieces: ClassVar[int] = 16

    function: Callable
    inflections: tuple[float, ...] = ()
    poles: tuple[float, ...] = ()
    signs: tuple[int, ...] | None = None
    size: Callable | None = None
    least: float = -np.inf

    def ends(self, x, interval):
        """The least and the greatest argument in an interval of deviations from x."""
        low, high = ends(x, interval)
        return jnp.maximum(low, self.least), jnp.maximum(high, self.least)

    @property
    def is_partial(self) -> bool:
        """Whether the argument may be a number at which the function has no value."""
        with jax.ensure_compile_time_eval():
            x = jnp.maximum(jnp.array([-1e4, -1.5, -0.5, 0.5, 1.5, 1e4]), self.least)
            return any(pole >= self.least for pole in self.poles) or bool(jnp.isnan(self.function(x)).any())

    def slope(self, x):
        """First derivative of the function."""
        return jax.jvp(self.function, (x,), (jnp.ones_like(x),))[1]

    def convexity(self) -> tuple[int, ...]:
        """Sign of the second derivative on each stretch between inflections."""
        if self.signs is not None:
            return self.signs
        borders = (self.inflections[0] - 1, *self.inflections, self.inflections[-1] + 1) if self.inflections else (0.5, 1.5)
        with jax.ensure_compile_time_eval():
            middles = jnp.array([(a + b) / 2 for a, b in zip(borders[:-1], borders[1:], strict=True)])
            return tuple(int(s) for s in np.sign(np.asarray(jax.jvp(self.slope, (middles,), (jnp.ones_like(middles),))[1])))

    def extremes(self, low, high, slopes):
        """Lower and upper bounds of function(x) - slope * x for low <= x <= high, each [slope, ...].

        They are the minimum and the maximum up to rounding and the width of the last bisection.
        """
        slope = jnp.stack(slopes)[:, None]
        borders = np.array([-np.inf, *self.inflections, np.inf], low.dtype).reshape(-1, *[1] * low.ndim)
        sides = (jnp.clip(jnp.clip(x[None], borders[:-1], borders[1:]), low[None], high[None]) for x in (low, high))
        sides = [jnp.broadcast_to(side, (len(slopes), *side.shape)) for side in sides]
        stationary, width = crossing(lambda x: self.slope(x) - slope, *sides)
        points = jnp.concatenate([stationary, *(jnp.broadcast_to(x, (len(slopes), 1, *x.shape)) for x in (low, high))], 1)
        values = self.function(points)
        differences, errors = values - slope * points, self.rounding(points, values, slope)
        # The curve lies on one side of its tangent, which bounds it between the last two points of the bisection.
        missed = jnp.where(width > 0, jnp.abs(self.slope(stationary) - slope) * width, 0)
        errors = errors + lax.stop_gradient(jnp.concatenate([missed, jnp.zeros_like(missed[:, :1]).repeat(2, 1)], 1))
        least, greatest = min_over(differences - errors, 1), max_over(differences + errors, 1)
        for pole in self.poles:
            broken = ((low <= pole) & (high >= pole))[None]
            least, greatest = jnp.where(broken, np.nan, least), jnp.where(broken, np.nan, greatest)
        return least, greatest

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        (least,), (greatest,) = self.extremes(*self.ends(x, interval), [jnp.zeros_like(x)])
        slack = self.rounding(x, node.value, 0)
        is_open = (interval.upper > interval.lower) | ~jnp.isfinite(node.value)
        sides = least - node.value - slack, greatest - node.value + slack
        return Interval(*(jnp.where(is_open, side, 0) for side in sides))

    def rounding(self, x, value, slope):
        """Bound of the rounding error of value - slope * x, where value = function(x)."""
        size = jnp.abs(value) if self.size is None else self.size(jnp.abs(x), jnp.abs(value))
        flushed = smallest_normal(value.dtype) * (1 + jnp.abs(x))
        return lax.stop_gradient(gamma(ELEMENTARY, value.dtype) * size + gamma(4, value.dtype) * jnp.abs(slope * x) + flushed)

    def sides(self, node, interval) -> tuple[Side, Side]:
        """The planes below and above, and the tangents that are sound in place of them."""
        x = node.parents[0].value
        low, high = self.ends(x, interval)
        wide, (below, above) = (low != x) | (high != x), tangents.sides(self, low, high)
        (least, _), (_, greatest) = self.extremes(low, high, [below.slope, above.slope])
        gaps = (
            node.value - below.slope * x - least + self.rounding(x, node.value, below.slope),
            greatest + above.slope * x - node.value + self.rounding(x, node.value, above.slope),
        )
        below_gap, above_gap = (jnp.where(wide | jnp.isnan(gap), gap, 0) for gap in gaps)
        return below._replace(gap=below_gap), above._replace(gap=above_gap)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        below, above = self.sides(node, *intervals)
        return Planes((below.slope,), (above.slope,), below.gap, above.gap)

    def borders(self, x, interval):
        low, high = self.ends(x, interval)
        width = high - low
        chord = ratio(self.function(high) - self.function(low), width)
        farthest, _ = crossing(lambda x: self.slope(x) - chord, low, high, otherwise=(low + high) / 2)
        inner = [(low < point) & (point < high) for point in self.inflections]
        count = sum(inner, jnp.zeros(x.shape, int))
        mean = sum((jnp.where(own, point, 0) for own, point in zip(inner, self.inflections, strict=True)), jnp.zeros_like(x))
        middle = jnp.where(count > 0, mean / jnp.maximum(count, 1), farthest)
        middle = jnp.clip(middle, low + LEAST * width, high - LEAST * width)
        shares = [number / (self.pieces // 2) for number in range(1, self.pieces // 2)]
        below, above = ([start + share * (end - start) for share in shares] for start, end in ((low, middle), (middle, high)))
        return jnp.stack([jnp.where(jnp.isfinite(border), border, x) for border in (*below, middle, *above)])

    def is_undecided(self, node, interval):
        lower, upper = interval
        return (lower < upper) & jnp.isfinite(lower) & jnp.isfinite(upper)

    def looseness(self, node, interval, planes):
        x = node.parents[0].value
        points = interval.lower, interval.mid, interval.upper
        return distances(planes, [(point, self.function(x + point) - node.value) for point in points])

    def adjustable(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        low, high = self.ends(x, interval)
        sides = [tangents.finite(self, side, low, high) for side in self.sides(node, interval)]
        return (node.value, x, low, high, sides), tuple(side.share for side in sides)

    def adjusted(self, known, shares):
        value, x, low, high, sides = known
        (lower, lower_gap), (upper, upper_gap) = (
            tangents.plane(self, sign, value, x, low, high, side, share)
            for sign, side, share in zip((1, -1), sides, shares, strict=True)
        )
        return Planes((lower,), (upper,), lower_gap, upper_gap)
