"""A border is the identity, whatever is made of it; XLA sees one of derivatives on a GPU, one of operands on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels.borders import apart, derived_once, summed_once

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def f(x, border=summed_once):
    return jnp.sin(border(x * x)).sum(axis=-1)


@pytest.mark.parametrize("identity", [summed_once, derived_once, apart])
def test_values_and_derivatives_of_any_order_and_mode_are_those_of_the_identity(identity):
    def made_of(border):
        def results(x):
            g = lambda x: f(x, border)  # noqa: E731
            along = jax.jvp(jax.grad(lambda x: g(x).sum()), (x,), (x + 1,))
            return g(x), jax.vmap(jax.grad(g))(x), jax.vmap(jax.hessian(g))(x), along

        return jax.tree.leaves(jax.jit(results)(X))

    for ours, theirs in zip(made_of(identity), made_of(lambda x: x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_gpu_sees_a_border_in_the_derivative_and_a_cpu_none():
    def barriers(g, platform):
        return jax.jit(g).trace(X).lower(lowering_platforms=(platform,)).as_text().count("optimization_barrier")

    gradient = jax.grad(lambda x: f(x).sum())
    assert [barriers(g, platform) for platform in ("cuda", "cpu") for g in (f, gradient)] == [0, 1, 0, 0]


def test_a_derivative_that_is_computed_once_is_apart_on_a_cpu_and_behind_a_barrier_on_a_gpu():
    def borders(g, platform):
        text = jax.jit(g).trace(X).lower(lowering_platforms=(platform,)).as_text()
        return text.count('inlineable = "false"'), text.count("optimization_barrier")

    once = lambda x: f(x, derived_once).sum()  # noqa: E731
    assert [borders(once, platform) for platform in ("cpu", "cuda")] == [(0, 0), (0, 0)]
    assert [borders(jax.grad(once), platform) for platform in ("cpu", "cuda")] == [(1, 0), (0, 1)]


def test_a_cpu_computes_the_operands_of_a_stack_in_loops_of_their_own():
    def calls(platform):
        stacked = jax.jit(lambda x: jnp.stack([apart(jnp.sin(x)), apart(jnp.cos(x))]))
        return stacked.trace(X).lower(lowering_platforms=(platform,)).as_text().count('inlineable = "false"')

    assert calls("cpu") == 2 and calls("cuda") == 0
