"""Zeros of monotone functions."""

import jax.numpy as jnp
from jax import lax


def crossing(f, a, b, otherwise=None):
    """The zero of a monotone f between a and b, by bisection, and a bound of its error.

    If there is no zero, it is `otherwise`, or b. Derivatives take it as a constant, which is right for extremes: the function is
    stationary there.
    """
    first, last = lax.stop_gradient((f(a), f(b)))

    def halve(_, pair):
        near, far = pair
        middle = (near + far) / 2
        same = jnp.sign(lax.stop_gradient(f(middle))) == jnp.sign(first)
        return jnp.where(same, middle, near), jnp.where(same, far, middle)

    near, far = lax.fori_loop(0, 30 if a.dtype == jnp.float32 else 48, halve, lax.stop_gradient((a, b)))
    crosses = jnp.sign(first) * jnp.sign(last) < 0
    return jnp.where(crosses, near, b if otherwise is None else otherwise), jnp.where(crosses, jnp.abs(far - near), 0)
