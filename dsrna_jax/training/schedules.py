"""Schedules of the learning rate and of other values.

Progress goes from 0 to 1. Epochs count from 0, and may be fractions or traced.
"""

import jax.numpy as jnp


def cosine(progress):
    """Half a cosine from 1 to 0 (DARTS)."""
    return (1 + jnp.cos(jnp.pi * progress)) / 2


def linear(progress):
    """A straight line from 1 to 0 (PC-DARTS on ImageNet)."""
    return 1 - progress


def decay(progress):
    """0.97 to the power of the epoch, for 250 epochs (DARTS on ImageNet)."""
    return 0.97 ** (250 * progress)


def steps(progress):
    """1, then 0.1 from the middle on, and 0.01 from three quarters on (as in publications of adversarial training)."""
    return jnp.where(progress < 0.5, 1.0, jnp.where(progress < 0.75, 0.1, 0.01))


def thirds(progress):
    """A tenth after a third, a hundredth after two (Shafahi et al. 2019, on ImageNet)."""
    return jnp.where(progress < 1 / 3, 1.0, jnp.where(progress < 2 / 3, 0.1, 0.01))


def triangle(progress):
    """From 0 up to 1 in the middle and back to 0 (Wong et al. 2020)."""
    return 1 - jnp.abs(2 * progress - 1)


def constant(progress):
    """1 in all epochs."""
    return jnp.ones_like(progress)


LEARNING_RATE_SCHEDULES = {
    "cosine": cosine,
    "linear": linear,
    "decay": decay,
    "steps": steps,
    "thirds": thirds,
    "triangle": triangle,
    "constant": constant,
}
BY_STEP = ("triangle",)  # the others change between epochs only


def learning_rate(config, epoch):
    """The rate in an epoch, or in a fraction of one, of a configuration with `lr`, `schedule`, `lr_warmup_epochs`, `epochs`.

    It changes between epochs only, as in torch, except for `triangle`. The warm-up multiplies by (epoch + 1) / warm-up epochs.
    """
    progress = epoch if config.schedule in BY_STEP else jnp.floor(epoch)
    rate = config.lr * LEARNING_RATE_SCHEDULES[config.schedule](jnp.minimum(progress / config.epochs, 1))
    return rate * ramp(jnp.floor(epoch) + 1, config.lr_warmup_epochs)


def ramp(value, end):
    """value / end, at most 1; 1 if `end` is 0."""
    return jnp.minimum(value / end, 1) if end else 1.0
