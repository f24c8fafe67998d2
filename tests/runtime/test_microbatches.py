"""Microbatches: means over the parts of a batch, which are the numbers of the whole batch but for batch statistics."""

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from smoke_run import FEW

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES
from dsrna_jax.networks import spaces
from dsrna_jax.networks.layers import BatchNorm
from dsrna_jax.runtime.memory import peak_bytes
from dsrna_jax.runtime.microbatches import Averaged, mean_derivative, over_parts
from dsrna_jax.search import bilevel
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.setup import searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.step import training_functions

SHAPE, CLASSES, KEY = (2, 3, 1), 3, jax.random.key(1)
SETTINGS = {"space": "darts", "cells": 3, "nodes": 1, "batch_size": 6, "weight_lr": 0.3, "alpha_lr": 0.05, "warmup_epochs": 0}
SETTINGS |= {"jacobian_method": "exact", "gamma": 0.5, "epochs": 4}


class Dense(nn.Module):
    """Two dense layers with the interface of a supernet and of a derived network; batch norm only if `is_normal`."""

    is_normal: bool = False
    classes: int = CLASSES
    auxiliary: bool = False
    mean: tuple[float, ...] = (0.5,)

    @nn.compact
    def __call__(self, images, mixtures=None, statistics="running", paths=None):
        self.variable("batch_stats", "unused", lambda: jnp.zeros(()))
        branches = [jnp.ones(14)] * 2 if mixtures is None else [mixtures[kind].branches for kind in CELL_TYPES]
        x = images.reshape(len(images), -1)
        hidden = jnp.tanh(x @ self.param("in", nn.initializers.normal(1.0), (x.shape[1], 14)))
        if self.is_normal:
            hidden = BatchNorm()(hidden.T[..., None, None], statistics)[..., 0, 0].T
        return (hidden * branches[0][None]) @ self.param("out", nn.initializers.normal(1.0), (14, CLASSES)) * branches[1].sum()


def batch(seed):
    generator = np.random.default_rng(seed)
    return SearchBatch(generator.uniform(size=(6, *SHAPE)).astype(np.float32), generator.integers(CLASSES, size=6))


TRAIN, VAL = batch(0), batch(1)


def searched(net, microbatch, order="first"):
    """(state, metrics) after an alpha step, and after the weight step that follows."""
    functions = search_functions(SearchConfig(**SETTINGS, order=order, microbatch=microbatch), net, SHAPE, 3)
    moved = jax.jit(functions.alpha_step)(jax.jit(functions.init)(jax.random.key(0)), TRAIN, VAL, KEY)
    return moved, jax.jit(functions.weight_step)(moved[0], TRAIN)


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=() if order == "first" else pytest.mark.slow) for order in bilevel.HYPERGRADIENTS]
)
def test_without_batch_statistics_a_search_step_is_that_of_the_whole_batch(order):
    chex.assert_trees_all_close(*(searched(Dense(), size, order) for size in (0, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("adversarial", ["none", "free"])
def test_without_batch_statistics_a_training_step_is_that_of_the_whole_batch(adversarial):
    def trained(microbatch):
        settings = {"batch_size": 6, "auxiliary_weight": 0.0, "adversarial": adversarial, "microbatch": microbatch}
        settings |= {"replays": 2} if adversarial == "free" else {}
        functions = training_functions(TrainingConfig(**settings), Dense(), SHAPE, 3)
        images = (255 * TRAIN.images).astype(np.uint8)
        return jax.jit(functions.train_step)(jax.jit(functions.init)(jax.random.key(0)), images, TRAIN.labels, KEY)

    chex.assert_trees_all_close(trained(0), trained(3), rtol=1e-4, atol=1e-6)


def test_parts_have_statistics_of_their_own_of_which_the_running_ones_follow_the_mean():
    functions = search_functions(SearchConfig(**SETTINGS), Dense(is_normal=True), SHAPE, 3)
    state = jax.jit(functions.init)(jax.random.key(0))

    @jax.jit
    def loss_and_statistics(state, part):
        shares = spaces.shares(state.alphas)
        loss, (_, statistics) = functions.train_loss(state.weights, state.batch_stats, part, shares, state.alphas)
        return loss, statistics

    parts = [jax.tree.map(lambda x, p=p: x[p::2], TRAIN) for p in range(2)]
    losses, statistics = zip(*(jax.tree.map(np.asarray, loss_and_statistics(state, part)) for part in parts), strict=True)
    halved = dataclasses.replace(functions, config=dataclasses.replace(functions.config, microbatch=3))
    moved, metrics = jax.jit(halved.weight_step)(state, TRAIN)
    assert metrics["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *statistics)
    chex.assert_trees_all_close(moved.batch_stats, mean, rtol=1e-5)
    whole = jax.jit(functions.weight_step)(state, TRAIN)[0].batch_stats
    assert not np.allclose(whole["BatchNorm_0"]["moments"], moved.batch_stats["BatchNorm_0"]["moments"], rtol=1e-3)


def test_images_come_back_in_their_order_and_every_part_draws_by_itself():
    numbers = np.arange(12, dtype=np.float32)

    @jax.jit
    def computed(numbers, key):
        parts = over_parts(lambda x, key: ((x.mean(), jax.random.uniform(key)), 2 * x), numbers, key, 3)
        return *parts, jax.vmap(jax.random.uniform)(jax.random.split(key, 3))

    (mean, drawn), of_images, each_drawn = jax.tree.map(np.asarray, computed(numbers, KEY))
    np.testing.assert_array_equal(of_images, 2 * numbers)
    assert mean == 5.5 and drawn == pytest.approx(np.mean(each_drawn))
    of_one = over_parts(lambda x, key: (key, x), numbers, KEY, 1)
    assert of_one[0] is KEY and of_one[1] is numbers


def test_the_derivative_of_an_averaged_function_is_that_of_the_mean_with_its_auxiliary_output():
    x = np.arange(8, dtype=np.float32)

    def f(part, _, w):
        return jnp.sin(w * part).mean(), ({"sum": part.sum()}, part)

    @jax.jit
    def computed(x):
        of_parts = mean_derivative(Averaged(f, x, None, 4), lambda g: jax.grad(g, has_aux=True)(0.3), has_aux=True)
        return *of_parts, jax.grad(lambda w: jnp.sin(w * x).mean())(0.3)

    gradient, (means, of_images), expected = jax.tree.map(np.asarray, computed(x))
    assert gradient == pytest.approx(expected.item(), rel=1e-5)
    assert means["sum"] == x.sum() / 4
    np.testing.assert_array_equal(of_images, x)


def test_a_step_in_parts_takes_less_memory():
    def peak(microbatch):
        small = {"space": "pcdarts", "cells": 3, "channels": 8, "nodes": 1, "operations": FEW}
        config = SearchConfig(**small, batch_size=32, microbatch=microbatch)
        functions = search_functions(config, searched_network(config, (8, 8, 1), 10, (0.5,), (0.2,)), (8, 8, 1), 3)
        state = jax.eval_shape(functions.init, jax.random.key(0))
        images, labels = jax.ShapeDtypeStruct((32, 8, 8, 1), jnp.float32), jax.ShapeDtypeStruct((32,), jnp.int32)
        return peak_bytes(functions.weight_step, state, SearchBatch(images, labels))

    assert peak(8) < 0.5 * peak(0)


@pytest.mark.parametrize("kind", [SearchConfig, TrainingConfig])
def test_a_microbatch_that_does_not_divide_the_batch_is_refused_with_those_that_do(kind):
    with pytest.raises(InputError, match="^microbatch=24: expected a divisor of batch_size=64, such as 16 or 32, or 0$"):
        kind(batch_size=64, microbatch=24)
