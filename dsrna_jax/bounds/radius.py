"""The largest radius with a positive margin, and its derivative."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def largest_radius(margin: Callable, batch: int, dtype, *, start: float, steps: int) -> jax.Array:
    """The largest radius that was tried and certified: a lower bound of the largest certified radius.

    From `start` the radius goes up or down by growing factors (2, 4, 16 ...) until one is certified and one is not; then its
    logarithm is bisected. Bounds need not be monotone in the radius: the radius returned was itself certified.

    Args:
      margin: maps radii [batch] to margins [batch]; positive is certified.
      start: the first radius tried, a number or [batch].
      steps: number of radii that are tried.
    Returns: [batch]; 0 if no radius tried is certified.
    """

    def probe(_, state):
        certified, failed, radius, factor = state
        passes = (margin(radius) > 0) & (radius >= jnp.finfo(dtype).tiny)  # smaller ones count as 0 in some operations
        certified = jnp.where(passes, radius, certified)
        failed = jnp.where(passes, failed, radius)
        has_certified, has_failed = certified > 0, jnp.isfinite(failed)
        is_between = has_certified & has_failed
        middle = jnp.sqrt(certified) * jnp.sqrt(jnp.where(has_failed, failed, 1))
        following = jnp.where(is_between, middle, jnp.where(has_certified, radius * factor, radius / factor))
        return certified, failed, following, jnp.where(is_between, factor, jnp.minimum(factor**2, 2.0**16))

    full = lambda value: jnp.full(batch, value, dtype)  # noqa: E731
    return lax.fori_loop(0, steps, probe, (full(0), full(jnp.inf), full(start), full(2)))[0]


def with_implicit_gradient(radius, margin: Callable) -> jax.Array:
    """The radius r, with the derivative of the implicit function m(r, theta) = 0: dr/dtheta = -(dm/dtheta) / (dm/dr).

    The derivative is 0 if the margin m does not fall with the radius.
    """
    radius = lax.stop_gradient(radius)
    value, slope = jax.jvp(margin, (radius,), (jnp.ones_like(radius),))
    return _differentiable(radius, value, lax.stop_gradient(slope))


@jax.custom_jvp
def _differentiable(radius, value, slope):
    """The radius. Without differentiation, value and slope are dead code, which XLA removes."""
    return radius


@_differentiable.defjvp
def _differentiable_jvp(primals, tangents):
    radius, value, slope = primals
    falls = (radius > 0) & (slope < 0) & jnp.isfinite(value)
    return radius, jnp.where(falls, -tangents[1] / jnp.where(falls, slope, -1), 0)
