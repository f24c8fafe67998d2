"""The largest radius with a positive margin, and its derivative."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def largest_radius(margin: Callable, batch: int, dtype, *, start: float, steps: int) -> jax.Array:
    """A radius [batch] that was itself certified, near the largest: margin maps radii [batch] to margins [batch].

    From `start` the radius goes up or down by growing factors (2, 4, 16 ...) until one is certified and one is not, and is then
    bisected in its logarithm. Linear bounds are not monotone in the radius, so what is found is a lower bound of the
    largest. 0 where even radius 0 is not certified.
    """

    def probe(_, state):
        certified, failed, radius, factor = state
        passes = margin(radius) > 0
        certified = jnp.where(passes, radius, certified)
        failed = jnp.where(passes, failed, radius)
        found, bounded = certified > 0, jnp.isfinite(failed)
        middle = jnp.sqrt(certified) * jnp.sqrt(jnp.where(bounded, failed, 1))
        following = jnp.where(found & bounded, middle, jnp.where(found, radius * factor, radius / factor))
        return certified, failed, following, jnp.where(found & bounded, factor, jnp.minimum(factor**2, 2.0**16))

    full = lambda value: jnp.full(batch, value, dtype)  # noqa: E731
    return lax.fori_loop(0, steps, probe, (full(0), full(jnp.inf), full(start), full(2)))[0]


def with_implicit_gradient(radius, margin: Callable) -> jax.Array:
    """The same radius r, with the derivative that m(r, theta) = 0 gives it: dr/dtheta = -(dm/dtheta) / (dm/dr).

    Where the margin does not fall with the radius the derivative is cut to 0.
    """
    radius = lax.stop_gradient(radius)
    value, slope = jax.jvp(margin, (radius,), (jnp.ones_like(radius),))
    return _led(radius, value, lax.stop_gradient(slope))


@jax.custom_jvp
def _led(radius, value, slope):
    """The radius; where nobody differentiates it, margin and slope are not computed."""
    return radius


@_led.defjvp
def _led_jvp(primals, tangents):
    radius, value, slope = primals
    falls = (radius > 0) & (slope < 0) & jnp.isfinite(value)
    return radius, jnp.where(falls, -tangents[1] / jnp.where(falls, slope, -1), 0)
