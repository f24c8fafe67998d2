"""Schedules of the radius of certificates during a search (section 4.2.2).

A schedule is a function (log_radius, slack, progress, start) -> the logarithm of the next radius. `slack` [batch] is that of the
last step (`Measured.slack`), `progress` in (0, 1] the share of the steps of the alphas after the next one, `start` the configured
radius in pixel units.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.data_parallel import batch_mean

Scalar = Float[Array, ""]


def controller(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """The radius grows while images have slack and shrinks while they lack it, as in the paper.

    Its logarithm moves by half the mean slack, which counts in [-1, 1] for each image: by a factor of at most sqrt(e) a step. The
    paper moves the radius linearly, which cannot shrink it by orders of magnitude. The radius is at most 1.
    """
    votes = jnp.where(jnp.isnan(slack), -1, jnp.clip(slack, -1, 1))
    return jnp.minimum(log_radius + 0.5 * batch_mean(votes.mean()), 0.0)


def fixed(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """The radius stays as it is."""
    return log_radius


def ramp(log_radius: Scalar, slack: Float[Array, " batch"], progress: Scalar, start: float) -> Scalar:
    """Grows linearly to `start` over the steps of the alphas, as in certified training (Gowal et al. 2018)."""
    return jnp.log(jnp.float32(start)) + jnp.log(jnp.float32(progress))


RADIUS_SCHEDULES = {"controller": controller, "fixed": fixed, "ramp": ramp}
