"""Rates change at the first step of an epoch, for any number of epochs and of steps, as exact fractions say."""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.runtime.options import with_arguments
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.schedules import BY_STEP, LEARNING_RATE_SCHEDULES, ramp
from dsrna_jax.training.step import optimizer

LONGEST = 100
STEPS = (1, 41, 47, 55, 61, 82, 97, 390)

# The first, a middle and the last step of every epoch of trainings of all lengths.
SHAPES = [(epochs, steps) for epochs in range(1, LONGEST + 1) for steps in STEPS]
EPOCHS, STEPS_PER_EPOCH, EPOCH, STEP = np.array(
    [
        (epochs, steps, epoch, epoch * steps + place)
        for epochs, steps in SHAPES
        for epoch in range(epochs)
        for place in {0, steps // 2, steps - 1}
    ],
    np.int32,
).T

EXACT = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "decay": lambda done: 0.97 ** float(250 * done),
    "steps": lambda done: 1 if done < Fraction(1, 2) else 0.1 if done < Fraction(3, 4) else 0.01,
    "thirds": lambda done: 1 if done < Fraction(1, 3) else 0.1 if done < Fraction(2, 3) else 0.01,
    "triangle": lambda done: 1 - abs(2 * done - 1),
    "constant": lambda done: 1,
}


@functools.cache
def exact(schedule):
    """The factor of the rate in each of the steps above, by fractions."""
    done, total = (STEP, STEPS_PER_EPOCH * EPOCHS) if schedule in BY_STEP else (EPOCH, EPOCHS)
    shares = list(zip(done.tolist(), total.tolist(), strict=True))
    values = {share: float(EXACT[schedule](Fraction(*share))) for share in set(shares)}
    return np.array([values[share] for share in shares])


@pytest.mark.parametrize("replays", [1, 3])
@pytest.mark.parametrize("schedule", LEARNING_RATE_SCHEDULES)
def test_the_first_and_the_last_step_of_an_epoch_have_its_rate(schedule, replays):
    """Epochs and steps are constants of the program, by which XLA does not divide exactly."""
    kind = {"adversarial": "free", "replays": replays} if replays > 1 else {}
    config = TrainingConfig(lr=1.0, schedule=schedule, momentum=0.0, weight_decay=0.0, clip=1e9, lr_warmup_epochs=7, **kind)

    def rate(step, epochs, steps_per_epoch):
        own = optimizer(with_arguments(config, {"epochs": epochs}), steps_per_epoch)
        state = jax.tree.map(lambda leaf: jnp.full_like(leaf, step) if leaf.dtype == jnp.int32 else leaf, own.init(jnp.zeros(())))
        return -own.update(jnp.ones(()), state, jnp.zeros(()))[0]

    rates = jax.jit(lambda steps: jax.vmap(rate)(steps, EPOCHS, STEPS_PER_EPOCH))
    warm = np.minimum(EPOCH + 1, 7) / 7
    for replay in {0, replays - 1}:
        np.testing.assert_allclose(rates(STEP * replays + replay), exact(schedule) * warm, rtol=2e-5, atol=1e-6)


def test_a_ramp_is_one_at_its_end():
    ends = range(1, LONGEST)
    at_ends = jax.jit(lambda values: jnp.stack([ramp(value, end) for value, end in zip(values, ends, strict=True)]))
    assert (at_ends(np.arange(1, LONGEST, dtype=np.int32)) == 1).all()
