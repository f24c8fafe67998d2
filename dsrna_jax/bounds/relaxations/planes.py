"""Planes below and above an operation."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.kernels.reductions import at_least_zero, larger


class Penalty(NamedTuple):
    """A linear function of the deviation d of a relaxed node's only parent, coefficients * d - loss, that is at most 0.

    It may be added to any function that is bounded from below: constraints of a region enter so, by Lagrange multipliers.
    """

    coefficients: jax.Array
    loss: jax.Array


class Planes(NamedTuple):
    """Coefficients by parent, and gaps >= 0 below and above.

    Shapes are those of the node; a coefficient has one more axis in front if its parent has. The coefficient of a parent is None
    if only its interval was used. Gaps may be negative where the interval does not hold the trace point.
    """

    lower: tuple[jax.Array | None, ...]
    upper: tuple[jax.Array | None, ...]
    lower_gap: jax.Array
    upper_gap: jax.Array
    penalty: Penalty | None = None


def distances(planes: Planes, points) -> tuple[jax.Array, jax.Array]:
    """The greatest distances of the planes of a function of one variable below and above it, and at least 0.

    points: pairs of deviations, of the operand and of the function there.
    """
    (lower,), (upper,) = planes.lower, planes.upper
    below = functools.reduce(larger, [value - lower * point for point, value in points]) + planes.lower_gap
    above = functools.reduce(larger, [upper * point - value for point, value in points]) + planes.upper_gap
    return at_least_zero(below), at_least_zero(above)


def ratio(a, b):
    """a / b, and 0 where b is 0, with finite derivatives: 0 where b is so small that they would leave the type.

    An interval of nothing but the allowance for rounding is that small, such as that of an entry which is always 0.
    """
    empty, is_small = b == 0, jnp.abs(b) < 4 * float(np.sqrt(jnp.finfo(b.dtype).tiny))
    constant = lax.stop_gradient(a / jnp.where(empty, 1, b))
    return jnp.where(empty, 0, jnp.where(is_small, constant, a / jnp.where(is_small, 1, b)))


def spans(low, high):
    """Whether 0 lies strictly between low and high; true for an unknown interval (NaN)."""
    return ~((low >= 0) | (high <= 0))
