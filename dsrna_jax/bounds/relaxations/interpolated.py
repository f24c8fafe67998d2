"""Piecewise linear functions between given points, as of jnp.interp."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.relaxations.shared import shared
from dsrna_jax.bounds.rounding import ELEMENTARY, gamma


@shared
@dataclasses.dataclass(frozen=True)
class Interpolated:
    """The function that is linear between points (places[i], values[i]), ascending, and constant beyond them.

    Its extremes, and those of its distance from a line, are at the ends of an interval or at points within. Both planes have
    the slope of the chord.
    """

    roundings: ClassVar[int] = ELEMENTARY

    places: tuple[float, ...]
    values: tuple[float, ...]

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`."""
        return jnp.full_like(f, self.greatest)

    @property
    def greatest(self) -> float:
        return 3 * float(np.abs(self.values).max())

    def extremes(self, low, high, slope):
        """The least and the greatest function(x) - slope * x for low <= x <= high."""
        dtype = low.dtype
        knots = np.asarray(self.places, dtype).reshape(-1, *[1] * low.ndim)
        at = jnp.concatenate([low[None], high[None], jnp.clip(knots, low[None], high[None])])
        value = jnp.interp(at, np.asarray(self.places, dtype), np.asarray(self.values, dtype))
        line = slope[None] * at
        error = lax.stop_gradient(gamma(ELEMENTARY, dtype) * self.greatest + gamma(4, dtype) * jnp.abs(line))
        difference = value - line
        return (difference - error).min(0), (difference + error).max(0)

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        least, greatest = self.extremes(x + interval.lower, x + interval.upper, jnp.zeros_like(x))
        moves = interval.upper > interval.lower
        slack = gamma(4, x.dtype) * self.greatest
        sides = least - node.value - slack, greatest - node.value + slack
        return Interval(*(jnp.where(moves, side, 0) for side in sides))

    def planes(self, node, intervals, slopes="adaptive"):
        (interval,), x = intervals, node.parents[0].value
        low, high = x + interval.lower, x + interval.upper
        first, last = (jnp.interp(end, np.asarray(self.places, x.dtype), np.asarray(self.values, x.dtype)) for end in (low, high))
        slope = lax.stop_gradient(ratio(last - first, high - low))
        least, greatest = self.extremes(low, high, slope)
        slack = gamma(ELEMENTARY, x.dtype) * (self.greatest + jnp.abs(slope * x))
        below, above = node.value - slope * x - least + slack, greatest + slope * x - node.value + slack
        return Planes((slope,), (slope,), jnp.where(high > low, below, 0), jnp.where(high > low, above, 0))
