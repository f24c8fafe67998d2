"""No robustness measure: plain architecture search, as DARTS and PC-DARTS do it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.measures.measure import Measure, Measured, without_slack


def zero(logits_fn: Callable, images: Float[Array, "batch *image"], labels=None, key=None, *, log_radius=None) -> Measured:
    """R = 0, for any images."""
    logits = logits_fn(images)
    return without_slack(logits, jnp.zeros(len(logits), jnp.promote_types(logits.dtype, jnp.float32)))


def measure(config: Any) -> Measure:
    """The measure R = 0, without options and metrics."""
    return Measure(zero, metrics=lambda measured, log_radius: {})
