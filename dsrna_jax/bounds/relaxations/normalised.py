"""Values divided by the root of the sum of their squares."""

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.relaxations.hinge import adaptive_share
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import gamma, known_or, reach_of, smallest_normal
from dsrna_jax.kernels.reductions import larger, smaller


@dataclasses.dataclass(frozen=True, eq=False)
class Normalised:
    """A product p = outer * d * r of entries d and a factor r <= scale / sqrt(sum of squares), within its closed-form range.

    The parents are (x, r, p), where x are the terms, or the values whose deviations from their mean are the terms. The planes are
    those of p, or the ends of its range where most of p's interval lies beyond. `docs/rounding.md` derives the range of p as it
    is evaluated.

    count: of the terms of a sum.
    is_term: whether d is one of the terms that are squared, as it is evaluated.
    is_centred: whether the terms are deviations from their mean.
    is_difference: whether the sum is evaluated as a difference of two.
    """

    roundings: ClassVar[int] = 0
    takes_unknown: ClassVar[bool] = True
    used_intervals: ClassVar[int] = 2

    scale: Any
    outer: Any
    count: int
    is_term: bool
    is_centred: bool
    is_difference: bool

    def limit(self, node, intervals):
        """The greatest absolute value of p, rounding included: [*shape of p]; infinite where r is unbounded."""
        dtype, count = node.value.dtype, self.count
        x, r = (jnp.abs(p.value) + reach_of(i) for p, i in zip(node.parents[:2], intervals[:2], strict=True))
        x = x.max([axis for axis in range(x.ndim) if axis != node.parents[0].batch_axis])
        x = x.reshape([-1 if axis == node.batch_axis else 1 for axis in range(node.value.ndim)])
        missed = (count + 1) * smallest_normal(dtype)  # squares that are flushed to 0
        if self.is_difference:
            missed = missed + count * gamma(3 * count + 8, dtype) * jnp.square(x)
        length = jnp.sqrt(jnp.square(self.scale) + missed * jnp.square(r))
        off = 2 * gamma(count + 6, dtype) * x  # a deviation from the mean, as it is evaluated
        limits = []
        if self.is_term:
            limits.append(length)
        if self.is_centred:
            limits.append(math.sqrt((count - 1) / count) * length + (2 + math.sqrt(count)) * off * r)
        limit = jnp.stack(jnp.broadcast_arrays(*limits)).min(0) * self.outer * (1 + gamma(count + 32, dtype))
        return lax.stop_gradient(known_or(jnp.broadcast_to(limit, node.value.shape), jnp.inf))

    def enclosure(self, node, intervals):
        limit = self.limit(node, intervals)
        slack = gamma(4, limit.dtype) * (limit + jnp.abs(node.value))
        product = Interval(known_or(intervals[2].lower, -jnp.inf), known_or(intervals[2].upper, jnp.inf))
        return Interval(
            larger(product.lower, jnp.minimum(-limit - node.value - slack, 0)),
            smaller(product.upper, jnp.maximum(limit - node.value + slack, 0)),
        )

    def planes(self, node, intervals, slopes="adaptive"):
        hull, product = self.enclosure(node, intervals), intervals[2]
        share = lambda beyond, within: known_or(adaptive_share(beyond, within), 0)  # noqa: E731
        below = jnp.where(jnp.isfinite(product.lower), share(product.lower - hull.lower, product.upper - hull.lower), 0)
        above = jnp.where(jnp.isfinite(product.upper), share(hull.upper - product.upper, hull.upper - product.lower), 0)
        gap = lambda slope, end: jnp.where(slope > 0, 0, end)  # noqa: E731
        return Planes((None, None, below), (None, None, above), gap(below, -hull.lower), gap(above, hull.upper))
