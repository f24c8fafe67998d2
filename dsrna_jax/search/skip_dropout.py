"""The dropout of identities over the epochs of a search: P-DARTS (Chen et al. 2019, arXiv:1904.12760, section 3.3).

As in the published code, the rate falls linearly while the alphas are frozen, and then again from the first by e^-0.2 an epoch.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Dropout(NamedTuple):
    """The rate of a step and the key of its draws."""

    rate: Float[Array, ""]
    key: PRNGKeyArray


def rate(epoch: Any, epochs: int, warmup_epochs: int, first: float) -> Float[Array, ""]:
    """The share of pixels that identities lose in an epoch, counted from 0; `first` (E - 1 - epoch) / E in the warm-up."""
    epoch = jnp.asarray(epoch, jnp.float32)
    return first * jnp.where(epoch < warmup_epochs, (epochs - epoch - 1) / epochs, jnp.exp(-0.2 * (epoch - warmup_epochs)))
