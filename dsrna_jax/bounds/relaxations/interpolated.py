"""Piecewise linear functions between given points, as of jnp.interp."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.relaxations.shared import shared
from dsrna_jax.bounds.rounding import ELEMENTARY, ends, gamma
from dsrna_jax.kernels.reductions import max_over, min_over


@shared
@dataclasses.dataclass(frozen=True)
class Interpolated:
    """jnp.interp between points (places[i], values[i]), whose places do not descend; the function jumps where they repeat.

    Its extremes, and those of its distance from a line, are at the ends of an interval or at points within. Both planes have
    the slope of the chord.

    left, right: the value below the first and above the last place; "extrapolate" goes on with the slope beside it.
    """

    roundings: ClassVar[int] = ELEMENTARY

    places: tuple[float, ...]
    values: tuple[float, ...]
    left: float | str
    right: float | str

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`."""
        return 3 * (self.greatest + f)

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """(place, value) of all points, and of the jumps to the values on the left and on the right."""
        ends = [(p, v) for p, v in ((self.places[0], self.left), (self.places[-1], self.right)) if not isinstance(v, str)]
        return (*zip(self.places, self.values, strict=True), *ends)

    @property
    def greatest(self) -> float:
        return max(abs(value) for _, value in self.points)

    def function(self, x):
        places, values = (np.asarray(side, x.dtype) for side in (self.places, self.values))
        left, right = (side if isinstance(side, str) else np.asarray(side, x.dtype) for side in (self.left, self.right))
        return jnp.interp(x, places, values, left=left, right=right)

    def extremes(self, low, high, slope):
        """The least and the greatest function(x) - slope * x for low <= x <= high."""
        dtype, first, last = low.dtype, self.function(low)[None], self.function(high)[None]
        low, high = low[None], high[None]
        places, values = (np.asarray(side, dtype).reshape(-1, *[1] * (low.ndim - 1)) for side in zip(*self.points, strict=True))
        spare = jnp.where(high > low, gamma(8, dtype) * (jnp.abs(low) + jnp.abs(high)), 0)
        is_within = (places >= low - spare) & (places <= high + spare)
        at = jnp.concatenate([low, high, jnp.where(is_within, jnp.clip(places, low, high), low)])
        value = jnp.concatenate([first, last, jnp.where(is_within, values, first)])
        line = slope[None] * at
        error = lax.stop_gradient(gamma(ELEMENTARY, dtype) * self.size(at, jnp.abs(value)) + gamma(4, dtype) * jnp.abs(line))
        difference = value - line
        return min_over(difference - error, 0), max_over(difference + error, 0)

    def enclosure(self, node, intervals):
        (interval,), x = intervals, node.parents[0].value
        least, greatest = self.extremes(*ends(x, interval), jnp.zeros_like(x))
        moves = interval.upper > interval.lower
        slack = gamma(ELEMENTARY, x.dtype) * self.size(x, jnp.abs(node.value))
        sides = least - node.value - slack, greatest - node.value + slack
        return Interval(*(jnp.where(moves, side, 0) for side in sides))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (interval,), x = intervals, node.parents[0].value
        low, high = ends(x, interval)
        first, last = (self.function(end) for end in (low, high))
        slope = lax.stop_gradient(ratio(last - first, high - low))
        least, greatest = self.extremes(low, high, slope)
        slack = gamma(ELEMENTARY, x.dtype) * (self.size(x, jnp.abs(node.value)) + jnp.abs(slope * x))
        below, above = node.value - slope * x - least + slack, greatest + slope * x - node.value + slack
        return Planes((slope,), (slope,), jnp.where(high > low, below, 0), jnp.where(high > low, above, 0))
