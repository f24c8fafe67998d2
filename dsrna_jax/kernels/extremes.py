"""Larger and smaller values, with derivatives that cost one comparison.

Those of `jnp.maximum` split ties by two divisions, which XLA keeps for the way back. Here the first of two equal values has all
of the derivative; NaN stays NaN.
"""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def larger(a, b):
    """Elementwise maximum of arrays of one shape."""
    return jnp.maximum(a, b)


@larger.defjvp
def _larger_jvp(values, tangents):
    return larger(*values), jnp.where(values[0] < values[1], *reversed(tangents))


def smaller(a, b):
    """Elementwise minimum of arrays of one shape."""
    return -larger(-a, -b)


@jax.custom_jvp
def at_least_zero(x):
    """max(x, 0) for what is negative by rounding alone: its derivative is that of x."""
    return jnp.maximum(x, 0)


@at_least_zero.defjvp
def _at_least_zero_jvp(values, tangents):
    return at_least_zero(*values), tangents[0]
