"""The programs of a sampled search: a step of the supernet, the proposal of a round, the judgement of a child."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_sum
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.compilation import argument_shapes
from dsrna_jax.runtime.device_data import gathered, given
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.streams import step_key
from dsrna_jax.search.options.sampled import objectives_of
from dsrna_jax.search.sampled.step import SampledFunctions
from dsrna_jax.search.state import SearchBatch

_TRAIN, _PATHS, _PROPOSALS, _JUDGEMENT, _TUNING = range(5)  # streams of randomness
MOVED = ("weights", "batch_stats", "weight_optimizer")  # the parts of a state that a child moves


class SampledPrograms(NamedTuple):
    """Functions to compile, or (`compilation.compiled`) futures of compiled ones; `key` is that of the whole run.

    weight_step(state, data, train_indices, key) -> (state, metrics); absent if there is no supernet to train.
    propose_step(state, data, indices, key) -> (state,)
    judge(state, data, indices, counts, number, key) -> sums of each objective over those of the batch that count.
    record_step(state, number, values) -> (state,)
    tune(state, data, train_indices, number, count, key) -> the parts of the state that a child moves in its step number `count`,
      by their names, as leaves; absent if children do not learn.
    """

    weight_step: Callable | Any = None
    propose_step: Callable | Any = None
    judge: Callable | Any = None
    record_step: Callable | Any = None
    tune: Callable | Any = None


def sampled_programs(functions: SampledFunctions) -> SampledPrograms:
    """The functions of a sampled search on batches given by indices [batch], as each device runs them (`data_parallel`).

    All children are judged with one key, so that they meet the same attacks.
    """

    def weight_step(state, data, indices, key):
        images, labels = gathered(data, indices)
        train = SearchBatch(functions.augmented(images, step_key(key, _TRAIN, state.step)), labels)
        return given(functions, data).weight_step(state, train, step_key(key, _PATHS, state.step))

    def plain(data, indices):
        images, labels = gathered(data, indices)
        return SearchBatch(augment.pixels(images), labels)

    def propose_step(state, data, indices, key):
        own = given(functions, data)
        return (own.propose(state, plain(data, indices), step_key(key, _PROPOSALS, state.step)),)

    def judge(state, data, indices, counts, number, key):
        own = given(functions, data)
        values = own.judge(state, number, plain(data, indices), step_key(key, _JUDGEMENT, 0))
        return batch_sum(tuple(jnp.sum(jnp.where(counts, value, 0)) for value in values))

    def record_step(state, number, values):
        return (functions.record(state, number, values),)

    def tune(state, data, indices, number, count, key):
        images, labels = gathered(data, indices)
        own = step_key(key, _TUNING, count)
        train = SearchBatch(functions.augmented(images, own), labels)
        tuned = given(functions, data).tune(state, number, count == 0, train, own)
        return {name: jax.tree.leaves(getattr(tuned, name)) for name in MOVED}

    return SampledPrograms(weight_step, propose_step, judge, record_step, tune if functions.config.fine_tune_steps else None)


def arguments(setup: RunSetup, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each program, in the order in which a search needs the programs."""
    state, data, key, indices, counts = argument_shapes(setup, mesh)
    whole = sharding.replicated(mesh)
    number = jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)
    values = jax.ShapeDtypeStruct((len(objectives_of(setup.config)),), jnp.float32, sharding=whole)
    return {
        **({"weight_step": (state, data, indices, key)} if setup.config.epochs else {}),
        **({"tune": (state, data, indices, number, number, key)} if setup.config.fine_tune_steps else {}),
        "judge": (state, data, indices, counts, number, key),
        "propose_step": (state, data, indices, key),
        "record_step": (state, number, values),
    }


def calls(setup: RunSetup) -> dict[str, int]:
    """The number of calls of each program in a whole search."""
    config, batches = setup.config, math.ceil(len(setup.parts["search_val"]) / setup.config.batch_size)
    return {
        "weight_step": config.epochs * setup.steps_per_epoch,
        "tune": config.children * config.fine_tune_steps,
        "judge": config.children * batches,
        "propose_step": config.children // config.round_size,
        "record_step": config.children,
    }
