"""Mixtures of a supernet: the softmax of the alphas of each edge, and of the edges that enter a node."""

import functools

import jax
import numpy as np
import pytest

from dsrna_jax.genotypes.genotype import edges
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.networks import spaces


@functools.cache
def initial_alphas(space, nodes):
    return jax.device_get(jax.jit(lambda key: spaces.initial_alphas(key, space, nodes))(jax.random.key(0)))


MIXTURES = jax.jit(spaces.mixtures, static_argnums=1)


def test_none_keeps_its_share_of_the_softmax():
    equal_alphas = jax.tree.map(np.zeros_like, initial_alphas("darts", 2))
    for mixture in MIXTURES(equal_alphas, 2).values():
        np.testing.assert_allclose(mixture.branches, np.full(5 * 7, 1 / 8), rtol=1e-6)


def test_an_edge_gets_the_softmax_of_its_row_less_none():
    alphas = jax.tree.map(np.copy, initial_alphas("darts", 2))
    alphas["normal"][3] = np.log(np.arange(1.0, 9))
    shares = np.reshape(MIXTURES(alphas, 2)["normal"].branches, (5, 7))
    np.testing.assert_allclose(shares[3], np.arange(2, 9) / 36, rtol=1e-5)


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_the_edges_that_enter_a_node_share_one(nodes):
    alphas = {k: 2000 * v for k, v in initial_alphas("pcdarts", nodes).items()}
    mixtures, softmaxes = MIXTURES(alphas, nodes), jax.jit(functools.partial(jax.tree.map, jax.nn.softmax))(alphas)
    for kind, mixture in mixtures.items():
        total, targets = np.zeros(nodes), np.array([target for _, target in edges(nodes)])
        np.add.at(total, targets - 2, np.asarray(mixture.edges))
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        operations = np.asarray(softmaxes[kind])[:, 1:]
        np.testing.assert_allclose(mixture.branches, (np.asarray(mixture.edges)[:, None] * operations).ravel(), rtol=1e-5)


def test_initial_alphas_are_small_and_differ():
    alphas = initial_alphas("pcdarts", 4)
    assert {k: v.shape for k, v in alphas.items()} == {
        "normal": (14, len(PRIMITIVES)), "normal_edges": (14,), "reduction": (14, len(PRIMITIVES)), "reduction_edges": (14,)
    }  # fmt: skip
    assert all(5e-4 < np.std(v) < 2e-3 for v in alphas.values())
    assert not np.array_equal(alphas["normal"], alphas["reduction"])
