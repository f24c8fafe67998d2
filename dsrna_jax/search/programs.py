"""The programs of a search: gather a batch from the data on the devices, augment it, move alphas or weights."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_sum, whole
from dsrna_jax.runtime.compilation import argument_shapes
from dsrna_jax.runtime.device_data import gathered, given
from dsrna_jax.runtime.streams import step_key
from dsrna_jax.search.setup import SearchSetup
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import SearchFunctions

_TRAIN, _VAL, _PROJECTIONS, _PERTURBATIONS, _CURVATURE = range(5)  # streams of randomness


class SearchPrograms(NamedTuple):
    """Functions to compile, or (`compilation.compiled`) futures of compiled ones; `key` is that of the whole run.

    weight_step(state, data, train_indices, key) -> (state, metrics)
    evaluate(state, data, indices, counts) -> (loss, right): sums over those of the batch that count.
    alpha_step(state, data, train_indices, val_indices, key) -> (state, metrics); None if weight steps move the alphas too.
    certify(state, data, indices) -> [batch]; None if nothing is certified.
    eigenvalue(state, data, val_indices, key) -> scalar, on the batch of the last step; None if it is never measured.
    """

    weight_step: Callable | Any
    evaluate: Callable | Any
    alpha_step: Callable | Any | None = None
    certify: Callable | Any | None = None
    eigenvalue: Callable | Any | None = None


def search_programs(functions: SearchFunctions) -> SearchPrograms:
    """The functions of a search on batches given by indices [batch], as each device runs them (`data_parallel`)."""

    def batch(step, data, indices, key, stream):
        images, labels = gathered(data, indices)
        return SearchBatch(functions.augmented(images, step_key(key, stream, step)), labels)

    def plain_batch(data, indices):
        images, labels = gathered(data, indices)
        return SearchBatch(augment.pixels(images), labels)

    def weight_step(state, data, indices, key):
        train = batch(state.step, data, indices, key, _TRAIN)
        return given(functions, data).weight_step(state, train, step_key(key, _PERTURBATIONS, state.step))

    def joint_step(state, data, indices, key):
        train = batch(state.step, data, indices, key, _TRAIN)
        return given(functions, data).joint_step(state, train, step_key(key, _PROJECTIONS, state.step))

    def alpha_step(state, data, train_indices, val_indices, key):
        train = batch(state.step, data, train_indices, key, _TRAIN)
        val = batch(state.step, data, val_indices, key, _VAL)
        return given(functions, data).alpha_step(state, train, val, step_key(key, _PROJECTIONS, state.step))

    def evaluate(state, data, indices, counts):
        loss, right = given(functions, data).evaluate(state, plain_batch(data, indices))
        return batch_sum((jnp.sum(jnp.where(counts, loss, 0)), jnp.sum(right & counts)))

    def certify(state, data, indices):
        return whole(given(functions, data).certify(state, plain_batch(data, indices)))

    def eigenvalue(state, data, val_indices, key):
        val = batch(state.step - 1, data, val_indices, key, _VAL)
        return given(functions, data).eigenvalue(state, val, step_key(key, _CURVATURE, state.step))

    step, own_alpha_step = (joint_step, None) if functions.config.levels == 1 else (weight_step, alpha_step)
    return SearchPrograms(
        step,
        evaluate,
        own_alpha_step,
        certify if functions.certifies else None,
        eigenvalue if functions.config.eigenvalue_every else None,
    )


def arguments(setup: SearchSetup, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each program, in the order in which a search needs the programs."""
    state, data, key, indices, counts = argument_shapes(setup, mesh)
    return {
        "weight_step": (state, data, indices, key),
        "evaluate": (state, data, indices, counts),
        **({"alpha_step": (state, data, indices, indices, key)} if setup.config.levels == 2 else {}),
        **({"certify": (state, data, indices)} if setup.functions.certifies else {}),
        **({"eigenvalue": (state, data, indices, key)} if setup.config.eigenvalue_every else {}),
    }


def calls(setup: SearchSetup) -> dict[str, int]:
    """The number of calls of each program in a whole search."""
    config, steps = setup.config, setup.steps_per_epoch
    return {
        "weight_step": config.epochs * steps,
        "evaluate": config.epochs * math.ceil(len(setup.parts["search_val"]) / config.batch_size),
        "alpha_step": (config.epochs - config.warmup_epochs) * steps,
        "certify": config.epochs,
        "eigenvalue": config.epochs // max(1, config.eigenvalue_every),
    }
