"""The product of two bounded values."""

import dataclasses
import functools

from dsrna_jax.bounds.relaxations.interval import between
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.kernels.reductions import larger, smaller


@dataclasses.dataclass(frozen=True)
class Product:
    """a * b of two bounded values, by the mean of McCormick's two planes on either side."""

    def enclosure(self, node, intervals):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        corners = [a * y + b * x + x * y for x in (da.lower, da.upper) for y in (db.lower, db.upper)]
        return between(functools.reduce(smaller, corners), functools.reduce(larger, corners))

    def planes(self, node, intervals, slopes="adaptive"):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        mid_a, mid_b = ((d.lower + d.upper) / 2 for d in intervals)
        product, spread = mid_a * mid_b, da.radius * db.radius
        coefficients = (b + mid_b, a + mid_a)
        return Planes(coefficients, coefficients, spread + product, spread - product)
