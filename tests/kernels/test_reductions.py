"""Maxima and sums, of pairs and of stacks of few rows and of many: values of jax.numpy, derivatives without division."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels import reductions
from dsrna_jax.kernels.reductions import at_least_zero, larger, largest, max_over, min_over, smaller, total_of, two_largest

A, B = np.float32([1, 3, 2, -1, np.nan, 0]), np.float32([2, 1, 2, -4, 0, np.nan])
counts = pytest.mark.parametrize("count", [1, 2, 9, reductions.MANY + 1])


def stack(count, distinct=1000):
    """[count, 3, 4] of few values, so that many are alike."""
    return np.float32(np.random.default_rng(count).integers(0, distinct, (count, 3, 4)) / 8)


@counts
def test_total_of_is_the_sum_and_its_transpose_repeats_the_cotangent(count):
    x, y = stack(count), stack(count)[0]
    total, (repeated,) = jax.jit(lambda x, y: (total_of(x), jax.linear_transpose(total_of, x)(y)))(x, y)
    np.testing.assert_array_equal(total, x.sum(0))
    np.testing.assert_array_equal(repeated, np.broadcast_to(y, x.shape))


@counts
def test_two_largest_are_the_first_two_of_a_stable_sort(count):
    x = stack(count, distinct=4)
    first, second = jax.jit(two_largest)(x)
    order = np.argsort(-x, 0, kind="stable")
    np.testing.assert_array_equal(first, np.arange(count)[:, None, None] == order[0])
    np.testing.assert_array_equal(second, (np.arange(count)[:, None, None] == order[min(1, count - 1)]) & (count > 1))


@counts
@pytest.mark.parametrize("of", [total_of, largest, two_largest])
def test_vmap_of_any_axis_equals_the_reduction_of_all(of, count):
    mapped, whole = jax.jit(lambda x: (jax.vmap(of, 2, -1)(x), of(x)))(stack(count))
    chex.assert_trees_all_equal(mapped, whole)


def test_two_largest_accepts_infinite_entries():
    x = np.float32([[1, -np.inf, np.inf], [-np.inf, -np.inf, np.inf], [-np.inf, 0, np.inf]])
    np.testing.assert_array_equal(np.argmax(jax.jit(two_largest)(x), 1), [[0, 2, 0], [1, 0, 1]])


@counts
def test_the_first_of_equal_maxima_has_all_of_the_derivative_and_nan_stays_nan(count):
    value_and_slope = jax.jit(lambda x: (largest(x), jax.grad(lambda x: largest(x).sum())(x)))
    x = stack(count, distinct=4)
    value, slope = value_and_slope(x)
    np.testing.assert_array_equal(value, x.max(0))
    np.testing.assert_array_equal(slope, np.arange(count)[:, None, None] == np.argmax(x, 0)[None])
    x[-1, 0] = np.nan
    assert np.isnan(value_and_slope(x)[0][0]).all()


def test_second_derivatives_equal_those_of_jax_numpy():
    @jax.jit
    def hessians(x):
        return [jax.hessian(lambda x, f=f: (f(x * x) ** 2).sum())(x) for f in (largest, lambda x: x.max(0))]

    ours, theirs = hessians(np.float32([[1, 5], [3, 2], [2, 4]]))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("ours, theirs", [(larger, jnp.maximum), (smaller, jnp.minimum)])
def test_larger_and_smaller_equal_jax_numpy_and_their_derivatives_add_up_to_one(ours, theirs):
    @jax.jit
    def values_and_slopes(a, b):
        return [f(a, b) for f in (ours, theirs)], [jax.vmap(jax.grad(f, (0, 1)))(a[:4], b[:4]) for f in (ours, theirs)]

    values, slopes = values_and_slopes(A, B)
    np.testing.assert_array_equal(*values)
    slopes = [np.asarray(pair) for pair in slopes]
    np.testing.assert_array_equal(np.delete(slopes[0], 2, 1), np.delete(slopes[1], 2, 1))
    np.testing.assert_array_equal(slopes[0].sum(0), 1)


def test_at_least_zero_keeps_nan():
    np.testing.assert_array_equal(at_least_zero(jnp.array([-1.0, 0, 2, np.nan])), [0, 0, 2, np.nan])


def test_at_least_zero_has_derivative_one_everywhere():
    np.testing.assert_array_equal(jax.vmap(jax.grad(at_least_zero))(jnp.array([-1e-9, 0, 2])), 1)


@pytest.mark.parametrize("size", [10, 20_000])
def test_maxima_and_minima_keep_nan_in_arrays_of_any_size(size):
    """XLA's own lose it in large ones: of [3, 20000] by jnp.max, of a stack of more than `MANY` rows by x.max(0)."""
    x = np.random.default_rng(0).normal(size=(3, size)).astype(np.float32)
    x[1, ::3] = np.nan
    stack = np.tile(x[:1], (reductions.MANY + 1, 1))
    stack[5, 2] = np.nan
    of_all = jax.jit(
        lambda x, stack: ([(f(x, 0), f(x.T, 1, keepdims=True), f(x), f(x[:1])) for f in (max_over, min_over)], largest(stack))
    )
    (of_max, of_min), top = of_all(x, stack)
    for (first, kept, every, clean), reference in ((of_max, np.max), (of_min, np.min)):
        np.testing.assert_array_equal(first, reference(x, 0))
        np.testing.assert_array_equal(kept, reference(x.T, 1, keepdims=True))
        assert np.isnan(every) and clean == reference(x[0])
    np.testing.assert_array_equal(top, stack.max(0))


@pytest.mark.parametrize("axes", [0, 1, (0, 2), None])
def test_the_first_of_equal_greatest_entries_has_all_of_the_derivative_of_max_over(axes):
    x = np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(np.float32)
    value, slope = jax.jit(jax.value_and_grad(lambda x: (max_over(x, axes) * 2).sum()))(x)
    assert value == 2 * x.max(axes).sum()
    reduced = range(3) if axes is None else (axes,) if isinstance(axes, int) else axes
    ahead = np.moveaxis(x, reduced, range(len(reduced))).reshape(int(np.prod([x.shape[i] for i in reduced])), -1)
    first = 2.0 * (np.arange(len(ahead))[:, None] == ahead.argmax(0))
    np.testing.assert_array_equal(np.moveaxis(slope, reduced, range(len(reduced))).reshape(ahead.shape), first)
