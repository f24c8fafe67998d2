"""The product of two bounded values."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import gamma
from dsrna_jax.kernels.reductions import larger, smaller


@dataclasses.dataclass(frozen=True)
class Product:
    """a * b of two bounded values, by McCormick's two planes on either side: their mean, or any other between them."""

    roundings: ClassVar[int] = 1
    has_two_shares: ClassVar[bool] = True
    pace: ClassVar[float] = 0.2

    def enclosure(self, node, intervals):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        terms = [(a * y, b * x, x * y) for x in (da.lower, da.upper) for y in (db.lower, db.upper)]
        corners = [s + t + u for s, t, u in terms]
        slack = [lax.stop_gradient(gamma(6, node.value.dtype) * sum(map(jnp.abs, t))) for t in terms]
        return Interval(
            functools.reduce(smaller, [c - s for c, s in zip(corners, slack, strict=True)]),
            functools.reduce(larger, [c + s for c, s in zip(corners, slack, strict=True)]),
        )

    def adjustable(self, node, intervals):
        known = tuple(p.value for p in node.parents), tuple(intervals)
        half = jnp.full_like(node.value, 0.5)
        return known, (half, half)

    def adjusted(self, known, shares):
        (a, b), (da, db) = known
        slack = _slack((a, b), (da, db))
        below, above = shares

        def plane(share, first, second):
            """Between the planes that touch the product at two corners (of a, of b), and the product of the deviations there."""
            at_a, at_b = (x + share * (y - x) for x, y in zip(first, second, strict=True))
            return (b + at_b, a + at_a), (1 - share) * first[0] * first[1] + share * second[0] * second[1]

        lower, under = plane(below, (da.lower, db.lower), (da.upper, db.upper))
        upper, over = plane(above, (da.lower, db.upper), (da.upper, db.lower))
        return Planes(lower, upper, under + slack, slack - over)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        mid_a, mid_b = ((d.lower + d.upper) / 2 for d in intervals)
        product, spread = mid_a * mid_b, da.radius * db.radius
        coefficients = (b + mid_b, a + mid_a)
        slack = _slack((a, b), intervals)
        return Planes(coefficients, coefficients, spread + product + slack, spread - product + slack)


def _slack(values, intervals):
    """Bound of the rounding of the planes."""
    a, b = map(jnp.abs, values)
    reach_a, reach_b = (jnp.maximum(jnp.abs(d.lower), jnp.abs(d.upper)) for d in intervals)
    return lax.stop_gradient(gamma(12, a.dtype) * ((b + reach_b) * reach_a + (a + reach_a) * reach_b))
