"""Schedules of the radius of certificates during a search (section 4.2.2).

A schedule is a function (log_radius, slack, progress, start) -> the logarithm of the next radius. `slack` [batch] is that of the
last step (`Measured.slack`), `progress` in (0, 1] the share of the steps of the alphas that the next one completes, `start` the
configured radius in pixels.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def controller(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """The paper's: moves the radius by how much the certified deviations of the batch are too small or too large.

    An image counts at most one, and the radius moves at most by a factor of sqrt(e) a step, so it sinks as far as it must.
    The paper moves linearly, which cannot sink by orders of magnitude.
    """
    votes = jnp.where(jnp.isnan(slack), -1, jnp.clip(slack, -1, 1))
    return jnp.minimum(log_radius + 0.5 * votes.mean(), 0.0)


def fixed(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """Stays where it started."""
    return log_radius


def ramp(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """Grows linearly to `start` over the steps of the alphas, as in certified training (Gowal et al. 2018)."""
    return jnp.log(jnp.float32(start)) + jnp.log(jnp.float32(progress))


RADIUS_SCHEDULES = {"controller": controller, "fixed": fixed, "ramp": ramp}
