"""Products and quotients within a range that their form gives."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from dsrna_jax.bounds.relaxations.hinge import adaptive_share
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import gamma, known_or
from dsrna_jax.kernels.reductions import larger, smaller


class Ranged:
    """The last parent p, which is known to lie in a range, also where its own interval is wide or unknown.

    The planes are those of p, or the ends of the range where most of p's interval lies beyond.

    range: maps a node and the intervals of its parents to the least and the greatest value of p, rounding included, both of p's
      shape; infinite where p has no range.
    """

    roundings: ClassVar[int] = 0
    takes_unknown: ClassVar[bool] = True
    used_intervals: ClassVar[int] = 2
    range: Callable

    def enclosure(self, node, intervals):
        range_, product = self.range(node, intervals), intervals[-1]
        low, high = (
            end - node.value + sign * gamma(4, end.dtype) * (jnp.abs(end) + jnp.abs(node.value))
            for end, sign in zip(range_, (-1, 1), strict=True)
        )
        known = jnp.isfinite(low) & jnp.isfinite(high)
        return Interval(
            jnp.where(known, larger(known_or(product.lower, -jnp.inf), jnp.minimum(low, 0)), product.lower),
            jnp.where(known, smaller(known_or(product.upper, jnp.inf), jnp.maximum(high, 0)), product.upper),
        )

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        product = intervals[-1]
        share = lambda beyond, within: known_or(adaptive_share(beyond, within), 0)  # noqa: E731
        below = jnp.where(jnp.isfinite(product.lower), share(product.lower - hull.lower, product.upper - hull.lower), 0)
        above = jnp.where(jnp.isfinite(product.upper), share(hull.upper - product.upper, hull.upper - product.lower), 0)
        gap = lambda slope, end: jnp.where(slope > 0, 0, end)  # noqa: E731
        others = (None,) * (len(node.parents) - 1)
        return Planes((*others, below), (*others, above), gap(below, -hull.lower), gap(above, hull.upper))
