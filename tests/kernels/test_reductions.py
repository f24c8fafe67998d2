"""Maxima and sums, of pairs and of stacks of few rows and of many: values of jax.numpy, derivatives without division."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels import reductions
from dsrna_jax.kernels.reductions import at_least_zero, larger, largest, smaller, total_of, two_largest

A, B = jnp.array([1.0, 3, 2, -1, np.nan, 0]), jnp.array([2.0, 1, 2, -4, 0, np.nan])
counts = pytest.mark.parametrize("count", [1, 2, 9, reductions.MANY + 1])


def stack(count, distinct=1000):
    """[count, 3, 4] of few values, so that many are alike."""
    return jnp.asarray(np.random.default_rng(count).integers(0, distinct, (count, 3, 4)) / 8, jnp.float32)


@counts
def test_total_of_is_the_sum_and_its_transpose_repeats_the_cotangent(count):
    x, y = stack(count), stack(count)[0]
    np.testing.assert_array_equal(total_of(x), x.sum(0))
    np.testing.assert_array_equal(jax.linear_transpose(total_of, x)(y)[0], jnp.broadcast_to(y, x.shape))


@counts
def test_two_largest_are_the_first_two_of_a_stable_sort(count):
    x = stack(count, distinct=4)
    first, second = two_largest(x)
    order = np.argsort(-np.asarray(x), 0, kind="stable")
    np.testing.assert_array_equal(first, np.arange(count)[:, None, None] == order[0])
    np.testing.assert_array_equal(second, (np.arange(count)[:, None, None] == order[min(1, count - 1)]) & (count > 1))


@counts
@pytest.mark.parametrize("of", [total_of, largest, two_largest])
def test_vmap_of_any_axis_equals_the_reduction_of_all(of, count):
    x = stack(count)
    mapped = jax.vmap(of, 2, -1)(x)
    chex.assert_trees_all_equal(mapped, of(x))


def test_two_largest_accepts_infinite_entries():
    x = jnp.array([[1.0, -jnp.inf, jnp.inf], [-jnp.inf, -jnp.inf, jnp.inf], [-jnp.inf, 0, jnp.inf]])
    np.testing.assert_array_equal(jnp.argmax(jnp.stack(two_largest(x)), 1), [[0, 2, 0], [1, 0, 1]])


@counts
def test_the_first_of_equal_maxima_has_all_of_the_derivative_and_nan_stays_nan(count):
    x = stack(count, distinct=4)
    np.testing.assert_array_equal(largest(x), x.max(0))
    is_first = np.arange(count)[:, None, None] == np.argmax(x, 0)[None]
    np.testing.assert_array_equal(jax.grad(lambda x: largest(x).sum())(x), is_first)
    assert jnp.isnan(largest(x.at[-1, 0].set(jnp.nan))[0]).all()


def test_second_derivatives_equal_those_of_jax_numpy():
    x = jnp.array([[1.0, 5], [3, 2], [2, 4]])
    ours, theirs = (jax.hessian(lambda x, f=f: (f(x * x) ** 2).sum())(x) for f in (largest, lambda x: x.max(0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("ours, theirs", [(larger, jnp.maximum), (smaller, jnp.minimum)])
def test_larger_and_smaller_equal_jax_numpy_and_their_derivatives_add_up_to_one(ours, theirs):
    np.testing.assert_array_equal(ours(A, B), theirs(A, B))
    slopes = [np.asarray(jax.vmap(jax.grad(f, (0, 1)))(A[:4], B[:4])) for f in (ours, theirs)]
    np.testing.assert_array_equal(np.delete(slopes[0], 2, 1), np.delete(slopes[1], 2, 1))
    np.testing.assert_array_equal(slopes[0].sum(0), 1)


def test_at_least_zero_keeps_nan():
    np.testing.assert_array_equal(at_least_zero(jnp.array([-1.0, 0, 2, np.nan])), [0, 0, 2, np.nan])


def test_at_least_zero_has_derivative_one_everywhere():
    np.testing.assert_array_equal(jax.vmap(jax.grad(at_least_zero))(jnp.array([-1e-9, 0, 2])), 1)
