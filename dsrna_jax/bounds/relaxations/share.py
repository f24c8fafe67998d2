"""Terms of a sum of numbers >= 0, divided by it, and means with such weights."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.relaxations.ranged import Ranged
from dsrna_jax.bounds.rounding import ends, gamma, smallest_normal
from dsrna_jax.kernels.reductions import max_over, min_over


@dataclasses.dataclass(frozen=True, eq=False)
class Share(Ranged):
    """A product p = a r of a and the inverse r of a total, within scale * [0, 1], or scale * [-1, 1].

    The parents are (a, r, p). The range holds as f evaluates p: rounding does not take a sum below its terms, but for the share
    of `count` terms that scaling loses. Where a may be infinite, or the total so small that terms flushed to 0 would count,
    there is none.

    is_signed: whether the terms are absolute values of a / scale.
    """

    scale: Any
    count: int
    is_signed: bool

    def range(self, node, intervals):
        """Between 0, or the least share, and the greatest."""
        info, (a, r) = jnp.finfo(node.value.dtype), intervals[:2]
        is_known = is_finite(a) & _is_of_large_total(node.parents[1], r, self.count)
        most = jnp.where(is_known, jnp.abs(self.scale) * (1 + gamma(2 * self.count + 32, info.dtype)), jnp.inf)
        if self.is_signed:
            return -most, most
        nothing = jnp.where(is_known, 0, jnp.inf)
        return jnp.where(self.scale < 0, -most, -nothing), jnp.where(self.scale < 0, nothing, most)


@dataclasses.dataclass(frozen=True, eq=False)
class Mean(Ranged):
    """A sum p of products w z over `axes` with weights w >= 0 that add up to 1, within the range of z along these axes.

    The parents are (z, w, p), of a softmax w; or (z, w, r, p), where p is the quotient of such a sum by that of the weights, and
    r its inverse. As f evaluates it, p is off by the roundings of both sums, relative to the greatest |z|, and by products that
    are flushed to 0. There is no range where weights may be infinite, or the total so small or large that it is lost.
    """

    axes: tuple[int, ...]
    count: int

    def range(self, node, intervals):
        """Between the least and the greatest z, each moved by the errors of p."""
        info, tiny = jnp.finfo(node.value.dtype), smallest_normal(node.value.dtype)
        low, high = ends(node.parents[0].value, intervals[0])
        low, high = min_over(low, self.axes), max_over(high, self.axes)
        is_known, inverse = is_finite(intervals[1]).all(self.axes), 1.0
        if len(node.parents) == 4:
            r = node.parents[2]
            inverse = r.value + intervals[2].upper
            is_known &= _is_of_large_total(r, intervals[2], self.count) & (r.value + intervals[2].lower > 2 * tiny)
        size = jnp.maximum(jnp.abs(low), jnp.abs(high))
        error = lax.stop_gradient(gamma(2 * self.count + 32, info.dtype) * size + self.count * tiny * (1 + size + inverse))
        spread = lambda side: jnp.broadcast_to(jnp.where(is_known, side, jnp.inf), node.value.shape)  # noqa: E731
        return spread(low - error), spread(high + error)


def is_finite(interval):
    """Mask of the intervals without an infinite or unknown end."""
    return jnp.isfinite(interval.lower) & jnp.isfinite(interval.upper)


def _is_of_large_total(inverse, interval, count):
    """Mask of where the inverse of a total is so small that `count` terms flushed to 0 are less than a rounding of the total."""
    info = jnp.finfo(inverse.value.dtype)
    return is_finite(interval) & ((inverse.value + interval.upper) * smallest_normal(info.dtype) * count < float(info.eps))
