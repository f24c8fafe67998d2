"""States with every kind of container and number, and a folder of their checkpoints."""

from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrna_jax.runtime.checkpoint import Checkpoints

METADATA = {"experiment": "search", "config": {"lr": 0.025, "cells": 8}, "genotype": [["none", 0], ["skip", 1]]}


class SearchState(NamedTuple):
    weights: Any
    batch_stats: Any
    alphas: Any
    optimizer: Any
    step: Any


@flax.struct.dataclass
class Average:
    decay: Any
    mean: Any


@chex.dataclass
class Radius:
    value: Any
    history: Any


def search_state(seed: int = 0) -> SearchState:
    """Random bits, so NaN payloads, infinities and denormals too, in every container that a state may hold."""
    rng = np.random.default_rng(seed)

    def bits(*shape):
        return jnp.asarray(rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32))

    weights = {"stem": {"kernel": bits(3, 3, 1, 4)}, "cell/0": [bits(4), (bits(2, 3), {})]}
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(1e-3), optax.masked(optax.trace(0.9), True))
    average = Average(decay=bits(), mean=Radius(value=bits(5).astype(jnp.bfloat16), history=jnp.array([True, False])))
    return SearchState(weights, {"mean": bits(4)}, {"normal": bits(14, 8)}, (optimizer.init(weights), average), jnp.int32(seed))


def assert_same(restored, saved):
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def abstract(state):
    return jax.eval_shape(lambda: state)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of steps 1 and 2, whose states are search_state(1) and search_state(2)."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save(step, search_state(step), METADATA | {"seed": step})
    return checkpoints
