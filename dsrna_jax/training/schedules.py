"""Schedules of the learning rate and of other values.

A schedule is a function of `done` of `total` epochs, or steps: whole numbers from 0, which may be traced. What changes at one of
them compares whole numbers, as XLA divides by a constant by a product with its rounded inverse: a quotient may miss k by a digit.
"""

import jax.numpy as jnp


def cosine(done, total):
    """Half a cosine from 1 to 0 (DARTS)."""
    return (1 + jnp.cos(jnp.pi * (done / total))) / 2


def linear(done, total):
    """A straight line from 1 to 0 (PC-DARTS on ImageNet)."""
    return 1 - done / total


def decay(done, total):
    """0.97 to the power of the epoch, for 250 epochs (DARTS on ImageNet)."""
    return 0.97 ** (250 * (done / total))


def steps(done, total):
    """1, then 0.1 from the middle on, and 0.01 from three quarters on (as in publications of adversarial training)."""
    return jnp.where(2 * done < total, 1.0, jnp.where(4 * done < 3 * total, 0.1, 0.01))


def thirds(done, total):
    """A tenth after a third, a hundredth after two (Shafahi et al. 2019, on ImageNet)."""
    return jnp.where(3 * done < total, 1.0, jnp.where(3 * done < 2 * total, 0.1, 0.01))


def triangle(done, total):
    """From 0 up to 1 in the middle and back to 0 (Wong et al. 2020)."""
    return 1 - jnp.abs(2 * (done / total) - 1)


def constant(done, total):
    """1 in all epochs."""
    return jnp.ones_like(done / total)


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


def learning_rate(config, step, steps_per_epoch=1):
    """The rate in a step, counted from 0, of a configuration with `lr`, `schedule`, `lr_warmup_epochs`, `epochs`.

    It changes between epochs only, as in torch, except for `triangle`. The warm-up multiplies by (epoch + 1) / warm-up epochs.

    Args:
      step: a whole number, perhaps traced; with the default `steps_per_epoch` it is the epoch.
    """
    epoch, schedule = step // steps_per_epoch, LEARNING_RATE_SCHEDULES[config.schedule]
    if config.schedule in BY_STEP:
        relative = schedule(step, 1.0 * steps_per_epoch * config.epochs)  # a product that may be beyond whole numbers of 32 bits
    else:
        relative = schedule(jnp.minimum(epoch, config.epochs), config.epochs)
    return config.lr * relative * ramp(epoch + 1, config.lr_warmup_epochs)


def ramp(value, end):
    """value / end, at most 1; 1 if `end` is 0."""
    return jnp.where(value < end, value / end, 1.0) if end else 1.0
