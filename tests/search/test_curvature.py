"""The dominant eigenvalue: that of the dense Hessian in float64, of a batch whole or in parts; recorded, and without effect."""

import dataclasses
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_supernet
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from quick import quick
from smoke_run import FEW, SMOKE

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.networks import spaces
from dsrna_jax.runtime import records
from dsrna_jax.runtime.feeds import MemoryFeed
from dsrna_jax.runtime.microbatches import Averaged
from dsrna_jax.search import curvature
from dsrna_jax.search.run import run
from dsrna_jax.search.setup import searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions

KEY, SHAPE = jax.random.key(0), (8, 8, 1)
SMALL = dataclasses.replace(PRESETS["smoke"], channels=8, batch_size=8)


def symmetric(seed, size, eigenvalues):
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return basis @ np.diag(eigenvalues) @ basis.T


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 100), st.lists(st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.5, 2.0]), min_size=6, max_size=6))
def test_the_estimate_is_the_largest_eigenvalue_also_of_maps_that_lead_nowhere_new(seed, eigenvalues):
    """Repeated eigenvalues, negative and zero maps included: as many steps as there are different ones would suffice."""
    with jax.enable_x64(True):
        matrix = jnp.asarray(symmetric(seed, 6, eigenvalues))
        np.testing.assert_allclose(dominant(matrix), max(eigenvalues), atol=1e-9)


@functools.cache
def _dominant():
    quadratic = lambda matrix: lambda point: 0.5 * point["a"] @ matrix @ point["a"]  # noqa: E731
    return jax.jit(lambda matrix: curvature.dominant_eigenvalue(quadratic(matrix), {"a": jnp.zeros(6, matrix.dtype)}, KEY))


def dominant(matrix):
    return _dominant()(matrix)


def test_few_steps_never_exceed_the_eigenvalue_and_suffice_when_it_stands_out():
    with jax.enable_x64(True):
        matrix = jnp.asarray(symmetric(1, 60, np.r_[np.linspace(-1, 1, 59), 3.0]))
        loss = lambda point: 0.5 * point @ matrix @ point  # noqa: E731
        estimate = quick(lambda steps: curvature.dominant_eigenvalue(loss, jnp.zeros(60), KEY, steps), static_argnums=0)
        estimates = [float(estimate(steps)) for steps in (2, 4, 10)]
    assert all(np.diff(estimates) > 0) and estimates[-1] <= 3.0 + 1e-12 and estimates[-1] == pytest.approx(3.0, rel=1e-3)


@functools.cache
def functions_of(**changes):
    config = dataclasses.replace(SMALL, **changes)
    return search_functions(config, searched_network(config, SHAPE, 10, (0.5,), (0.2,)), SHAPE, 3)


def batch(dtype, shape=SHAPE):
    generator = np.random.default_rng(0)
    return SearchBatch(jnp.asarray(generator.uniform(size=(8, *shape)), dtype), jnp.asarray(generator.integers(3, size=8)))


@pytest.mark.parametrize(
    ("functions", "shape", "size"),
    [
        (tiny_supernet.functions(gamma=100.0), tiny_supernet.IMAGE, 2 * 2 * 8),
        pytest.param(functions_of(gamma=100.0), SHAPE, 2 * (2 * 8 + 2), marks=pytest.mark.slow),  # the alphas of edges count too
    ],
    ids=["stand-in", "supernet"],
)
def test_the_eigenvalue_is_that_of_the_dense_hessian_of_the_loss_by_all_alphas(functions, shape, size, monkeypatch):
    """The R of the search does not count."""
    monkeypatch.setattr(curvature, "dominant_eigenvalue", functools.partial(curvature.dominant_eigenvalue, steps=1000))
    with jax.enable_x64(True):
        state = quick(functions.init)(KEY)
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(100 * x, jnp.float64), tree)  # noqa: E731
        state = state.replace(weights=jax.tree.map(jnp.float64, state.weights), alphas=wide(state.alphas))
        flat, tree_of = ravel_pytree(state.alphas)
        images, labels = batch(jnp.float64, shape)

        def loss(alphas):
            alphas, data = tree_of(alphas), SearchBatch(images, labels)
            return functions.train_loss(state.weights, state.batch_stats, data, spaces.shares(alphas), alphas)[0]

        dense = np.linalg.eigvalsh(quick(jax.hessian(loss))(flat))
        measured = quick(functions.eigenvalue)(state, SearchBatch(images, labels), KEY)
    assert flat.size == size and measured.dtype == jnp.float64
    np.testing.assert_allclose(measured, dense[-1], rtol=1e-8)


def test_parts_of_a_batch_add_up():
    def loss(part, _, point):
        return jnp.mean(jnp.sin(part[:, None] * point[None]).sum(1))

    @jax.jit
    def eigenvalues(x, point):
        return [curvature.dominant_eigenvalue(Averaged(loss, x, None, count), point, KEY) for count in (1, 4)]

    whole, parts = eigenvalues(np.arange(1, 9, dtype=np.float32), np.float32([0.3, -0.2]))
    np.testing.assert_allclose(parts, whole, rtol=1e-4)


def test_maps_are_of_float32_in_any_precision_and_a_batch_is_whole_or_in_parts():
    changes = [{"operations": FEW} | more for more in ({}, {"precision": "bfloat16"}, {"microbatch": 4})]
    state = jax.eval_shape(functions_of(**changes[0]).init, KEY)
    whole, narrow, parts = (str(jax.make_jaxpr(functions_of(**c).eigenvalue)(state, batch(jnp.float32), KEY)) for c in changes)
    assert narrow == whole and "bf16" not in whole
    assert "f32[8,8,8,1]" in whole and parts.count("scan[") == whole.count("scan[") + 1


@pytest.mark.slow
def test_it_is_recorded_on_its_interval_and_changes_nothing_else(tmp_path, smoke_run, monkeypatch):
    """Nor does it ask for a batch of the last step again, for which a stream would have to begin anew."""
    asked, batch = [], MemoryFeed.batch
    monkeypatch.setattr(MemoryFeed, "batch", lambda feed, *place: asked.append(place) or batch(feed, *place))
    config = dataclasses.replace(SMOKE, eigenvalue_every=2)
    run(config, tmp_path, devices=1, file=io.StringIO())
    rows = records.rows(tmp_path / "metrics.jsonl")
    measured = [row.pop("eigenvalue") for row in rows]
    assert [type(value) for value in measured] == [type(None), float, type(None)]
    assert rows == records.rows(smoke_run[0] / "metrics.jsonl") and len(asked) == len(set(asked)) > 15
