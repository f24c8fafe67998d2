"""Smooth functions of one variable, between chords and tangents."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import between
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.relaxations.shared import shared


@shared
@dataclasses.dataclass(frozen=True)
class Curve:
    """A smooth function of one variable, by where its second derivative changes sign.

    Where the curve is convex over the interval, the upper slope is the chord's and the lower one the tangent's at the middle;
    where it is concave, the other way round. With one inflection inside, slopes are those of tangents through the far ends. For
    any slope the gap is the largest distance to the curve, over the ends and the stationary points: at most one between
    inflections, found by bisection.

    Args:
      function: elementwise, twice differentiable in JAX except at the inflections.
      inflections: the points where the second derivative changes sign, ascending; () for a convex or concave function.
      poles: points where the function has no value; intervals that contain one have no bounds.
      signs: 1 or -1, of the second derivative between the inflections. By default they are computed at the middles between
        inflections, and at a distance of 1 beyond the first and the last.
    """

    function: Callable
    inflections: tuple[float, ...] = ()
    poles: tuple[float, ...] = ()
    signs: tuple[int, ...] | None = None

    def slope(self, x):
        """First derivative."""
        return jax.jvp(self.function, (x,), (jnp.ones_like(x),))[1]

    def convexity(self) -> tuple[int, ...]:
        """Sign of the second derivative on each stretch between inflections."""
        if self.signs is not None:
            return self.signs
        ends = (self.inflections[0] - 1, *self.inflections, self.inflections[-1] + 1) if self.inflections else (0.5, 1.5)
        with jax.ensure_compile_time_eval():
            middles = jnp.array([(a + b) / 2 for a, b in zip(ends[:-1], ends[1:], strict=True)])
            return tuple(int(s) for s in np.sign(np.asarray(jax.jvp(self.slope, (middles,), (jnp.ones_like(middles),))[1])))

    def extremes(self, low, high, slopes):
        """Minimum and maximum of function(x) - slope * x for low <= x <= high, each [slope, ...]."""
        slope = jnp.stack(slopes)[:, None]
        borders = np.array([-np.inf, *self.inflections, np.inf], low.dtype).reshape(-1, *[1] * low.ndim)
        ends = (jnp.clip(jnp.clip(x[None], borders[:-1], borders[1:]), low[None], high[None]) for x in (low, high))
        ends = [jnp.broadcast_to(e, (len(slopes), *e.shape)) for e in ends]
        stationary = _crossing(lambda x: self.slope(x) - slope, *ends)
        points = jnp.concatenate([stationary, *(jnp.broadcast_to(x, (len(slopes), 1, *x.shape)) for x in (low, high))], 1)
        differences = self.function(points) - slope * points
        least, greatest = differences.min(1), differences.max(1)
        for pole in self.poles:
            broken = ((low <= pole) & (high >= pole))[None]
            least, greatest = jnp.where(broken, np.nan, least), jnp.where(broken, np.nan, greatest)
        return least, greatest

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        (least,), (greatest,) = self.extremes(x + interval.lower, x + interval.upper, [jnp.zeros_like(x)])
        slack = self.rounding(node, interval, 0)
        return between(least - node.value - slack, greatest - node.value + slack)

    def rounding(self, node, interval, slope):
        """Allowance for the cancellation in differences of nearly equal values."""
        terms = jnp.abs(node.value) + jnp.abs(slope * node.parents[0].value)
        return jnp.where(interval.radius > 0, 4 * jnp.finfo(node.value.dtype).eps * lax.stop_gradient(terms), 0)

    def planes(self, node, intervals, slopes="adaptive"):
        (interval,), x = intervals, node.parents[0].value
        low, high = x + interval.lower, x + interval.upper
        wide = high > low
        chord = jnp.where(wide, ratio(self.function(high) - self.function(low), high - low), self.slope((low + high) / 2))
        below = above = chord
        borders, signs = (-np.inf, *self.inflections, np.inf), self.convexity()
        middle = self.slope((low + high) / 2)
        for left, right, sign in zip(borders[:-1], borders[1:], signs, strict=True):
            within = (low >= left) & (high <= right)
            if sign >= 0:
                below = jnp.where(within, middle, below)
            if sign <= 0:
                above = jnp.where(within, middle, above)
        to_right, to_left = self._tangents(low, high) if self.inflections else ((), ())
        for i, point in enumerate(self.inflections):
            within = (low > borders[i]) & (high < borders[i + 2]) & (low < point) & (high > point)
            over, under = (to_right[i], to_left[i]) if signs[i] > 0 else (to_left[i], to_right[i])
            above, below = jnp.where(within, over, above), jnp.where(within, under, below)
        (least, _), (_, greatest) = self.extremes(low, high, [below, above])
        below_gap = node.value - below * x - least + self.rounding(node, interval, below)
        above_gap = greatest + above * x - node.value + self.rounding(node, interval, above)
        return Planes((below,), (above,), below_gap, above_gap)

    def _tangents(self, low, high):
        """Slopes of tangents through the low and the high end, for each inflection; that of the chord where no point touches."""
        point = np.array(self.inflections, low.dtype).reshape(-1, *[1] * low.ndim)
        near = jnp.stack([jnp.maximum(low[None], point), jnp.minimum(high[None], point)])
        anchor, far = (jnp.broadcast_to(jnp.stack(ends)[:, None], near.shape) for ends in ((low, high), (high, low)))
        touch = _crossing(
            lambda x: self.slope(x) * (x - anchor) - (self.function(x) - self.function(anchor)), near, far, otherwise=far
        )
        gap = touch - anchor
        return jnp.where(gap == 0, self.slope(anchor), ratio(self.function(touch) - self.function(anchor), gap))


def _crossing(f, a, b, otherwise=None):
    """The zero of a monotone f between a and b, by bisection; `otherwise`, or b, where there is none.

    It is a constant to derivatives, which is right for extremes: the function is stationary there.
    """
    first, last = lax.stop_gradient((f(a), f(b)))

    def halve(_, ends):
        near, far = ends
        middle = (near + far) / 2
        same = jnp.sign(lax.stop_gradient(f(middle))) == jnp.sign(first)
        return jnp.where(same, middle, near), jnp.where(same, far, middle)

    near, _ = lax.fori_loop(0, 30 if a.dtype == jnp.float32 else 48, halve, lax.stop_gradient((a, b)))
    return jnp.where(jnp.sign(first) * jnp.sign(last) < 0, near, b if otherwise is None else otherwise)
