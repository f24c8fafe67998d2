"""The weight gamma of R in the objective of the alphas, epoch by epoch."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

# By name: (gamma, share of the epochs in which alphas move, this one among them) -> gamma of the epoch.
GAMMA_SCHEDULES: dict[str, Callable[[float, Any], Any]] = {
    "constant": lambda gamma, share: gamma,
    "linear": lambda gamma, share: gamma * jnp.clip(share, 0, 1),
}


def gamma_of(config: Any, epoch: Any) -> Any:
    """Gamma in an epoch, counted from 0. `linear` starts above 0 after the warm-up and ends at gamma, as in one epoch alone."""
    count = max(1, config.epochs - config.warmup_epochs)
    return GAMMA_SCHEDULES[config.gamma_schedule](config.gamma, (epoch + 1 - config.warmup_epochs) / count)
