"""The extremes that bounds are made of: values of jax.numpy, derivatives that add up to one, and NaN that is not lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.bounds.extremes import at_least_zero, larger, largest, smaller, total_of

A, B = jnp.array([1.0, 3, 2, -1, np.nan, 0]), jnp.array([2.0, 1, 2, -4, 0, np.nan])


@pytest.mark.parametrize("ours, theirs", [(larger, jnp.maximum), (smaller, jnp.minimum)])
def test_pairs_are_those_of_numpy(ours, theirs):
    np.testing.assert_array_equal(ours(A, B), theirs(A, B))
    slopes = [np.asarray(jax.vmap(jax.grad(f, (0, 1)))(A[:4], B[:4])) for f in (ours, theirs)]
    np.testing.assert_array_equal(np.delete(slopes[0], 2, 1), np.delete(slopes[1], 2, 1))
    np.testing.assert_array_equal(slopes[0].sum(0), 1)


def test_nan_is_not_at_least_zero():
    np.testing.assert_array_equal(at_least_zero(jnp.array([-1.0, 0, 2, np.nan])), [0, 0, 2, np.nan])


def test_largest_entries_share_the_derivative():
    x = jnp.array([[1.0, 5, 2], [3, 5, 2], [3, 0, 2]])
    np.testing.assert_array_equal(largest(x), x.max(0))
    np.testing.assert_allclose(jax.grad(lambda x: largest(x).sum())(x), jax.grad(lambda x: x.max(0).sum())(x), rtol=1e-6)
    assert jnp.isnan(largest(x.at[1, 0].set(jnp.nan))[0])


def test_second_derivatives_are_those_of_numpy():
    x = jnp.array([[1.0, 5], [3, 2], [2, 4]])
    ours, theirs = (jax.hessian(lambda x, f=f: (f(x * x) ** 2).sum())(x) for f in (largest, lambda x: x.max(0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_total_is_the_sum_over_the_first_axis():
    x = jax.random.normal(jax.random.key(0), (7, 3, 4))
    np.testing.assert_allclose(total_of(x), x.sum(0), rtol=1e-5, atol=1e-6)
