"""Intervals of deviations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsrna_jax.kernels.reductions import at_least_zero, larger, smaller


class Interval(NamedTuple):
    """Deviations from mid - radius to mid + radius, with radius >= 0; a mid of None is 0, and costs nothing to propagate."""

    mid: jax.Array | None
    radius: jax.Array

    @property
    def lower(self) -> jax.Array:
        return -self.radius if self.mid is None else self.mid - self.radius

    @property
    def upper(self) -> jax.Array:
        return self.radius if self.mid is None else self.mid + self.radius


def between(lower, upper) -> Interval:
    """The interval from lower to upper."""
    return Interval((lower + upper) / 2, at_least_zero((upper - lower) / 2))


def intersection(a: Interval, b: Interval) -> Interval:
    """The interval of the values that lie in both."""
    if a.mid is None and b.mid is None:
        return Interval(None, smaller(a.radius, b.radius))
    return between(larger(a.lower, b.lower), smaller(a.upper, b.upper))


def tightest(sides: list[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """The greatest of several lower bounds and the least of the upper ones, entry by entry; NaN is an unknown bound."""
    lower, upper = sides[0]
    for other in sides[1:]:
        lower, upper = jnp.fmax(lower, other[0]), jnp.fmin(upper, other[1])
    return lower, upper
