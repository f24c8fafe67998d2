"""Values divided by the root of the sum of their squares."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.relaxations.ranged import Ranged
from dsrna_jax.bounds.rounding import gamma, known_or, reach_of, smallest_normal
from dsrna_jax.kernels.reductions import max_over, min_over


@dataclasses.dataclass(frozen=True, eq=False)
class Normalised(Ranged):
    """A product p = outer * d * r of entries d and a factor r <= scale / sqrt(sum of squares), within its closed-form range.

    The parents are (x, r, p), where x are the terms, or the values whose deviations from their mean are the terms.
    `docs/rounding.md` derives the range of p as it is evaluated.

    count: of the terms of a sum.
    is_term: whether d is one of the terms that are squared, as it is evaluated.
    is_centred: whether the terms are deviations from their mean.
    is_difference: whether the sum is evaluated as a difference of two.
    """

    scale: Any
    outer: Any
    count: int
    is_term: bool
    is_centred: bool
    is_difference: bool

    def range(self, node, intervals):
        """Within the greatest absolute value of p; infinite where r is unbounded."""
        dtype, count = node.value.dtype, self.count
        scale, outer = (jnp.asarray(factor, dtype) for factor in (self.scale, self.outer))
        x, r = (jnp.abs(p.value) + reach_of(i) for p, i in zip(node.parents[:2], intervals[:2], strict=True))
        x = max_over(x, [axis for axis in range(x.ndim) if axis != node.parents[0].batch_axis])
        x = x.reshape([-1 if axis == node.batch_axis else 1 for axis in range(node.value.ndim)])
        missed = (count + 1) * smallest_normal(dtype)  # squares that are flushed to 0
        if self.is_difference:
            missed = missed + count * gamma(3 * count + 8, dtype) * jnp.square(x)
        length = jnp.sqrt(jnp.square(scale) + missed * jnp.square(r))
        off = 2 * gamma(count + 6, dtype) * x  # a deviation from the mean, as it is evaluated
        limits = []
        if self.is_term:
            limits.append(length)
        if self.is_centred:
            limits.append(math.sqrt((count - 1) / count) * length + (2 + math.sqrt(count)) * off * r)
        limit = min_over(jnp.stack(jnp.broadcast_arrays(*limits)), 0) * outer * (1 + gamma(count + 32, dtype))
        limit = lax.stop_gradient(known_or(jnp.broadcast_to(limit, node.value.shape), jnp.inf))
        return -limit, limit
