"""The precision of bounds, and how far they are widened for what rounding adds."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp

ROUNDING = 64  # units of the precision of x

P = ParamSpec("P")
R = TypeVar("R")


def in_full_precision(f: Callable[P, R]) -> Callable[P, R]:
    """f with matrix products as precise as its numbers, where an accelerator's default is coarser."""

    @functools.wraps(f)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return f(*args, **kwargs)

    return precise


def widened(value, lower, radius, units: int = ROUNDING) -> jax.Array:
    """value + lower, less the allowance for rounding; -inf where that is NaN, and the value itself at radius 0.

    Args:
      lower: lower bound of the value's deviation.
      radius: of the ball, of a shape that broadcasts against the value's.
    """
    allowance = units * jnp.finfo(value.dtype).eps * (jnp.abs(value) + jnp.abs(lower))
    result = value + lower - jnp.where(radius > 0, allowance, 0)
    return jnp.where(jnp.isnan(result), -jnp.inf, result)


def widened_sides(lower, upper) -> tuple[jax.Array, jax.Array]:
    """Bounds of a deviation, each moved outwards by its share of the allowance; infinite where they are NaN."""
    slack = ROUNDING * jnp.finfo(lower.dtype).eps
    lower, upper = lower - slack * jnp.abs(lower), upper + slack * jnp.abs(upper)
    return jnp.where(jnp.isnan(lower), -jnp.inf, lower), jnp.where(jnp.isnan(upper), jnp.inf, upper)
