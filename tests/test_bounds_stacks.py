"""Sums, maxima and the two largest of a stack are those of jax.numpy, and so are their derivatives, for few rows and for many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels import stacks
from dsrna_jax.kernels.stacks import largest, total_of, two_largest

counts = pytest.mark.parametrize("count", [1, 2, 9, stacks.MANY + 1])


def stack(count, distinct=1000):
    """[count, 3, 4] of few values, so that many are alike."""
    return jnp.asarray(np.random.default_rng(count).integers(0, distinct, (count, 3, 4)) / 8, jnp.float32)


@counts
def test_total_is_the_sum_and_its_transpose_repeats(count):
    x, y = stack(count), stack(count)[0]
    np.testing.assert_array_equal(total_of(x), x.sum(0))
    np.testing.assert_array_equal(jax.linear_transpose(total_of, x)(y)[0], jnp.broadcast_to(y, x.shape))


@counts
def test_two_largest_are_those_of_a_stable_sort(count):
    x = stack(count, distinct=4)
    first, second = two_largest(x)
    order = np.argsort(-np.asarray(x), 0, kind="stable")
    np.testing.assert_array_equal(first, np.arange(count)[:, None, None] == order[0])
    np.testing.assert_array_equal(second, (np.arange(count)[:, None, None] == order[min(1, count - 1)]) & (count > 1))


@counts
@pytest.mark.parametrize("of", [total_of, largest, two_largest])
def test_every_axis_can_be_mapped(of, count):
    x = stack(count)
    mapped = jax.vmap(of, 2, -1)(x)
    jax.tree.map(np.testing.assert_array_equal, mapped, of(x))


def test_infinite_rows_have_their_places():
    x = jnp.array([[1.0, -jnp.inf, jnp.inf], [-jnp.inf, -jnp.inf, jnp.inf], [-jnp.inf, 0, jnp.inf]])
    np.testing.assert_array_equal(jnp.argmax(jnp.stack(two_largest(x)), 1), [[0, 2, 0], [1, 0, 1]])


@counts
def test_the_first_of_the_largest_has_all_of_the_derivative(count):
    x = stack(count, distinct=4)
    np.testing.assert_array_equal(largest(x), x.max(0))
    is_first = np.arange(count)[:, None, None] == np.argmax(x, 0)
    np.testing.assert_array_equal(jax.grad(lambda x: largest(x).sum())(x), is_first)
    assert jnp.isnan(largest(x.at[-1, 0].set(jnp.nan))[0]).all()


def test_second_derivatives_are_those_of_numpy():
    x = jnp.array([[1.0, 5], [3, 2], [2, 4]])
    ours, theirs = (jax.hessian(lambda x, f=f: (f(x * x) ** 2).sum())(x) for f in (largest, lambda x: x.max(0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
