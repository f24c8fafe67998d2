"""The size of the programs that bounds compile to, in operations: an equation of a shared function counts once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core

from dsrna_jax import bounds

W = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32) / 3
X = jnp.ones((2, 6))
ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "softmax": jax.nn.softmax, "sin": jnp.sin}


def equations(jaxpr, seen: set[int]) -> int:
    """The number of equations of a jaxpr and of all that it calls."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    if id(jaxpr) in seen:
        return 0
    seen.add(id(jaxpr))
    is_jaxpr = lambda value: isinstance(value, core.Jaxpr | core.ClosedJaxpr)  # noqa: E731
    inner = [v for e in jaxpr.eqns for v in jax.tree.leaves(list(e.params.values()), is_leaf=is_jaxpr) if is_jaxpr(v)]
    return len(jaxpr.eqns) + sum(equations(j, seen) for j in inner)


@functools.cache
def size(activation: str, depth: int, method: str) -> int:
    """The size of the program that bounds a network of equal layers."""

    def f(x):
        for i in range(depth):
            x = ACTIVATIONS[activation](x @ (W * (1 + i)))
        return x @ W[:, :3]

    return equations(jax.make_jaxpr(lambda x: bounds.bound(f, x, radius=0.1, method=method))(X), set())


@pytest.mark.parametrize("activation", ["sin", *(pytest.param(a, marks=pytest.mark.slow) for a in ("relu", "silu", "softmax"))])
def test_a_layer_more_adds_as_much_as_the_one_before(activation):
    """A method that goes back from every layer adds some operations for each pair of layers, and more if it optimises slopes."""
    for method in ("ibp", "crown_ibp", "hz_crown"):
        small, medium, large = (size(activation, depth, method) for depth in (2, 4, 6))
        assert large - medium <= 1.1 * (medium - small) + 20, method
    for method, pair in (("crown", 120), ("alpha_crown", 240)):
        second = np.diff([size(activation, depth, method) for depth in (2, 4, 6, 8)], 2)
        assert second[1] <= 1.1 * second[0] + 20 and second[0] <= 4 * pair, method


def test_layers_with_the_same_curve_share_its_formulas():
    for method, most in (("ibp", 60), ("crown_ibp", 140), ("hz_crown", 325)):
        assert size("silu", 4, method) - size("silu", 2, method) <= 2 * most


def test_optimised_slopes_add_a_backward_pass_and_its_derivative_for_every_layer():
    assert size("relu", 6, "alpha_crown") <= 2.7 * size("relu", 6, "crown")
    assert size("silu", 6, "alpha_crown") <= 3.2 * size("silu", 6, "crown")
    assert size("sin", 6, "alpha_crown") <= 1.01 * size("sin", 6, "crown")  # there are no slopes to optimise


@pytest.mark.parametrize("method", ["ibp", "crown_ibp", "crown", "alpha_crown"])
def test_a_scan_is_as_large_as_its_steps_written_out(method):
    stacked = np.stack([W * (1 + i) for i in range(4)])
    scanned = lambda x: lax.scan(lambda h, w: (jax.nn.silu(h @ w), None), x, stacked)[0] @ W[:, :3]  # noqa: E731
    program = jax.make_jaxpr(lambda x: bounds.bound(scanned, x, radius=0.1, method=method))(X)
    assert equations(program, set()) <= 1.1 * size("silu", 4, method)
