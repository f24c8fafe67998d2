"""The programs of a training: gather a batch from the data on the devices, then train on it or evaluate it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from dsrna_jax.data_parallel import batch_sum
from dsrna_jax.runtime.compilation import argument_shapes
from dsrna_jax.runtime.device_data import gathered, given
from dsrna_jax.training.setup import TrainingSetup
from dsrna_jax.training.step import TrainingFunctions


class TrainingPrograms(NamedTuple):
    """Functions to compile, or (`compilation.compiled`) futures of compiled ones; `key` is that of the whole run.

    train_step(state, data, indices, key) -> (state, metrics)
    evaluate(state, data, indices, counts, key) -> sums over those that count: loss, right, right under attack, and perhaps top 5.
    """

    train_step: Callable | Any
    evaluate: Callable | Any


def training_programs(functions: TrainingFunctions) -> TrainingPrograms:
    """The functions of a training on batches given by indices [batch], as each device runs them (`data_parallel`)."""

    def train_step(state, data, indices, key):
        return given(functions, data).train_step(state, *gathered(data, indices), key)

    def evaluate(state, data, indices, counts, key):
        values = given(functions, data).evaluate(state, *gathered(data, indices), key)
        return batch_sum(tuple(jnp.sum(jnp.where(counts, value, 0)) for value in values))

    return TrainingPrograms(train_step, evaluate)


def arguments(setup: TrainingSetup, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each program, in the order in which a training needs the programs."""
    state, data, key, indices, counts = argument_shapes(setup, mesh)
    return {"train_step": (state, data, indices, key), "evaluate": (state, data, indices, counts, key)}


def calls(setup: TrainingSetup) -> dict[str, int]:
    """The number of calls of each program in a whole training, without its last evaluation, on test images."""
    config = setup.config
    batches = math.ceil(len(setup.parts["held_out"]) / config.batch_size)
    return {"train_step": config.epochs * setup.steps_per_epoch, "evaluate": config.epochs * batches}
