"""Mixtures of a supernet: the softmax of the alphas of each edge, and of the edges that enter a node."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.genotypes.genotype import edges
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.networks import spaces


def equal_alphas(space, nodes):
    return jax.tree.map(jnp.zeros_like, spaces.initial_alphas(jax.random.key(0), space, nodes))


def test_none_keeps_its_share_of_the_softmax():
    for mixture in spaces.mixtures(equal_alphas("darts", 2), 2).values():
        np.testing.assert_allclose(mixture.branches, np.full(5 * 7, 1 / 8), rtol=1e-6)


def test_an_edge_gets_the_softmax_of_its_row_less_none():
    alphas = spaces.initial_alphas(jax.random.key(0), "darts", 2)
    alphas["normal"] = alphas["normal"].at[3].set(jnp.log(jnp.arange(1.0, 9)))
    shares = spaces.mixtures(alphas, 2)["normal"].branches.reshape(5, 7)
    np.testing.assert_allclose(shares[3], np.arange(2, 9) / 36, rtol=1e-5)


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_the_edges_that_enter_a_node_share_one(nodes):
    key = jax.random.key(0)
    alphas = {k: 2000 * v for k, v in spaces.initial_alphas(key, "pcdarts", nodes).items()}
    for kind, mixture in spaces.mixtures(alphas, nodes).items():
        total, targets = np.zeros(nodes), np.array([target for _, target in edges(nodes)])
        np.add.at(total, targets - 2, mixture.edges)
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        operations = jax.nn.softmax(alphas[kind])[:, 1:]
        np.testing.assert_allclose(mixture.branches, (mixture.edges[:, None] * operations).ravel(), rtol=1e-5)


def test_initial_alphas_are_small_and_differ():
    alphas = spaces.initial_alphas(jax.random.key(0), "pcdarts", 4)
    assert {k: v.shape for k, v in alphas.items()} == {
        "normal": (14, len(PRIMITIVES)), "normal_edges": (14,), "reduction": (14, len(PRIMITIVES)), "reduction_edges": (14,)
    }  # fmt: skip
    assert all(5e-4 < np.std(v) < 2e-3 for v in alphas.values())
    assert not np.array_equal(alphas["normal"], alphas["reduction"])
