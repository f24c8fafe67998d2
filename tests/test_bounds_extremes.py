"""The extremes that bounds are made of: values of jax.numpy, derivatives that add up to one, and NaN that is not lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels.extremes import at_least_zero, larger, smaller

A, B = jnp.array([1.0, 3, 2, -1, np.nan, 0]), jnp.array([2.0, 1, 2, -4, 0, np.nan])


@pytest.mark.parametrize("ours, theirs", [(larger, jnp.maximum), (smaller, jnp.minimum)])
def test_pairs_are_those_of_numpy(ours, theirs):
    np.testing.assert_array_equal(ours(A, B), theirs(A, B))
    slopes = [np.asarray(jax.vmap(jax.grad(f, (0, 1)))(A[:4], B[:4])) for f in (ours, theirs)]
    np.testing.assert_array_equal(np.delete(slopes[0], 2, 1), np.delete(slopes[1], 2, 1))
    np.testing.assert_array_equal(slopes[0].sum(0), 1)


def test_nan_is_not_at_least_zero():
    np.testing.assert_array_equal(at_least_zero(jnp.array([-1.0, 0, 2, np.nan])), [0, 0, 2, np.nan])


def test_what_is_zero_but_for_rounding_keeps_its_derivative():
    np.testing.assert_array_equal(jax.vmap(jax.grad(at_least_zero))(jnp.array([-1e-9, 0, 2])), 1)
