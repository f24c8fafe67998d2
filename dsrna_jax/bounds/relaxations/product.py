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
    """a * b of two bounded values, by the mean of McCormick's two planes on either side."""

    roundings: ClassVar[int] = 1

    def enclosure(self, node, intervals):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        terms = [(a * y, b * x, x * y) for x in (da.lower, da.upper) for y in (db.lower, db.upper)]
        corners = [s + t + u for s, t, u in terms]
        slack = [lax.stop_gradient(gamma(6, node.value.dtype) * sum(map(jnp.abs, t))) for t in terms]
        return Interval(
            functools.reduce(smaller, [c - s for c, s in zip(corners, slack, strict=True)]),
            functools.reduce(larger, [c + s for c, s in zip(corners, slack, strict=True)]),
        )

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        mid_a, mid_b = ((d.lower + d.upper) / 2 for d in intervals)
        product, spread = mid_a * mid_b, da.radius * db.radius
        coefficients = (b + mid_b, a + mid_a)
        reach_a, reach_b = (jnp.maximum(jnp.abs(d.lower), jnp.abs(d.upper)) for d in intervals)
        terms = (jnp.abs(b) + reach_b) * reach_a + (jnp.abs(a) + reach_a) * reach_b
        slack = lax.stop_gradient(gamma(12, node.value.dtype) * terms)
        return Planes(coefficients, coefficients, spread + product + slack, spread - product + slack)
