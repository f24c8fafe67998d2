"""Intervals of deviations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsrna_jax.kernels.reductions import at_least_zero, larger, smaller


class Interval(NamedTuple):
    """Deviations from lower to upper.

    Both ends are kept, rather than the middle and half the width: where one end is a billion times the other, as after an
    exponential, the middle form loses the smaller one to rounding.
    """

    lower: jax.Array
    upper: jax.Array

    @property
    def mid(self) -> jax.Array:
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> jax.Array:
        return at_least_zero((self.upper - self.lower) / 2)


def intersection(a: Interval, b: Interval) -> Interval:
    """The interval of the values that lie in both."""
    return Interval(larger(a.lower, b.lower), smaller(a.upper, b.upper))


def tightest(sides: list[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """The greatest of several lower bounds and the least of the upper ones, entry by entry; NaN is an unknown bound."""
    lower, upper = sides[0]
    for other in sides[1:]:
        lower, upper = jnp.fmax(lower, other[0]), jnp.fmin(upper, other[1])
    return lower, upper
