"""RobNet's rule by hand: FSP matrices, their distance between images and attacked ones, and the candidates of the least."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.search.sampled import step, strategy
from dsrna_jax.search.sampled.fsp import fsp_distance, fsp_matrix
from dsrna_jax.search.state import SearchBatch

# Two channels of one image of 1x2 pixels each, and the means over the pixels of their products.
ENTERING, LEAVING = jnp.array([[[[1.0, 2.0]]], [[[3.0, 4.0]]]]), jnp.array([[[[1.0, 0.0]]], [[[2.0, 2.0]]]])
MATRIX = [[[(1 * 1 + 2 * 0) / 2, (1 * 2 + 2 * 2) / 2], [(3 * 1 + 4 * 0) / 2, (3 * 2 + 4 * 2) / 2]]]


def test_an_entry_is_the_mean_over_the_pixels_of_the_products_of_two_channels():
    np.testing.assert_allclose(fsp_matrix(ENTERING, LEAVING), MATRIX)


def test_the_larger_map_is_pooled_by_its_largest_pixels():
    larger = jnp.stack([ENTERING - 1, ENTERING - 5], -1).reshape(2, 1, 1, 4)  # the largest of two pixels is the first
    np.testing.assert_allclose(fsp_matrix(jnp.concatenate([larger, larger - 1], 2), LEAVING), fsp_matrix(ENTERING - 1, LEAVING))


def test_the_distance_is_that_of_the_last_third_of_the_cells_and_0_between_equal_images():
    """The maps of six cells that add one: those from the maps + 4 to the maps + 5, and from these to the maps + 6."""
    function: Any = SimpleNamespace(stem=lambda x: (jnp.moveaxis(x, -1, 0),) * 2, cells=[lambda _, last: last + 1] * 6)
    images, attacked = jnp.moveaxis(ENTERING, 0, -1), jnp.moveaxis(LEAVING, 0, -1)
    np.testing.assert_array_equal(fsp_distance(function, images, images), [0])
    matrices = [[fsp_matrix(maps + n, maps + n + 1) for n in (4, 5)] for maps in (ENTERING, LEAVING)]
    expected = np.mean([np.square(np.subtract(a, b)).sum() for a, b in zip(*matrices, strict=True)])
    np.testing.assert_allclose(fsp_distance(function, images, attacked), [expected], rtol=1e-5)


def test_of_all_candidates_those_of_the_least_distance_are_tried(monkeypatch):
    """Codes of which the distance is the sum, in the place of networks."""
    config = dataclasses.replace(PRESETS["digits_robnet_free"], candidates=3, round_size=2, children=2)
    monkeypatch.setattr(step.SampledFunctions, "frozen", lambda _, __, code, ___: (None, code))
    monkeypatch.setattr(step.attacks, "pgd", lambda _, images, *__, **___: SimpleNamespace(x_adv=images))
    monkeypatch.setattr(step, "fsp_distance", lambda code, images, _: jnp.full(len(images), code.sum()))
    drawn: Any = strategy.configured(config, np.array([9, 9]))
    unused: Any = None
    functions = step.SampledFunctions(config, unused, (1, 1, 1), 1, unused, drawn, unused, unused)
    state: Any = step.SampledState(*[np.zeros((2, 2), np.int32)] * 7)
    batch = SearchBatch(np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, int))
    propose = jax.jit(drawn.propose)
    every = np.concatenate([propose(None, key) for key in jax.random.split(jax.random.key(0), 3)])
    tried = jax.jit(functions.propose)(state, batch, jax.random.key(0)).codes
    assert sorted(np.sum(tried, 1)) == sorted(every.sum(1))[:2] and len(set(every.sum(1))) > 3
