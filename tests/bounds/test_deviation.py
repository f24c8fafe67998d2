"""Bounds of f(x') - f(x), on a small convolutional network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.errors import InputError

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 1, 2)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(32, 4)).astype(np.float32)
X = np.random.default_rng(2).uniform(size=(3, 4, 4, 1)).astype(np.float32)


def f(x):
    y = jax.lax.conv_general_dilated(x, KERNEL.astype(x.dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    y = jax.lax.reduce_window(jax.nn.relu(y - 0.3), -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")
    return 1e3 + y.reshape(len(x), -1) @ WEIGHTS  # deviations must not depend on this large offset


@pytest.mark.parametrize("method", ["crown_ibp", *(pytest.param(m, marks=pytest.mark.slow) for m in ("ibp", "crown"))])
def test_bounds_are_the_value_plus_the_deviation(method):
    with jax.enable_x64():
        x = X.astype(np.float64)
        of = [f, *(functools.partial(b, f, radius=0.05, method=method) for b in (bounds.bound, bounds.value_and_deviation))]
        logits, (lower, upper), (value, (below, above)) = quick(lambda x: [each(x) for each in of])(x)
        np.testing.assert_allclose(value, logits, rtol=1e-12)
        np.testing.assert_allclose([lower, upper], [logits + below, logits + above], rtol=1e-9)
        assert (below < 0).all() and (above > 0).all()


@pytest.mark.parametrize("method", ["ibp", "crown_ibp"])
def test_tiny_radii_keep_their_precision(method):
    """Away from kinks deviations are proportional to the radius, down to 1e-30 in float32."""
    deviation = quick(lambda radius: bounds.deviation(f, X, radius=radius, method=method))
    np.testing.assert_allclose(np.array(deviation(1e-7)) * 1e7, np.array(deviation(1e-30)) * 1e30, rtol=1e-3)
    assert not np.array(deviation(0.0)).any()


def test_rows_that_do_not_fit_are_refused_in_one_line():
    x = np.zeros((2, 3), np.float32)
    for rows in (np.zeros((0, 2, 3), np.float32), np.zeros((1, 2, 4), np.float32), np.zeros((1, 2), np.float32)):
        for bound in (bounds.deviation, bounds.value_and_deviation, bounds.optimised_slopes):
            with pytest.raises(InputError, match=r"rows must be functionals \[row, 2, 3\] of f\(x\), at least one, got shape"):
                bound(jax.nn.relu, x, radius=0.1, rows=rows)


@pytest.mark.parametrize("method", ["ibp", "crown_ibp", pytest.param("crown", marks=pytest.mark.slow)])
def test_rows_are_functionals_of_each_example(method):
    picks = np.array([[0, 1, 2], [3, 3, 0]])  # [row, example]
    rows = np.eye(4, dtype=np.float32)[picks]
    deviation = functools.partial(bounds.deviation, f, radius=0.02, method=method)
    of_rows = quick(lambda x: [deviation(x), deviation(x, rows=rows), deviation(x, rows=rows[:1] - rows[1:])])
    whole, by_row, differences = map(np.array, of_rows(X))
    np.testing.assert_allclose(by_row, whole[:, np.arange(3), picks], rtol=1e-5)
    assert (differences[0] >= by_row[0, :1] - by_row[1, 1:] - 1e-4).all()


def test_deviations_contain_the_changes_at_corners_of_the_ball():
    below, above = quick(lambda x: bounds.deviation(f, x, radius=0.03, method="crown_ibp"))(X)
    moves = 0.03 * np.random.default_rng(3).choice([-1.0, 1.0], size=(200, *X.shape)).astype(np.float32)
    change = quick(jax.vmap(lambda d: f(X + d) - f(X)))(moves)
    assert (below[None] <= change + 1e-3).all() and (change <= above[None] + 1e-3).all()
    assert jnp.isfinite(below).all()


PLACES, VALUES = np.array([0.5, 1.0, 3.0], np.float32), np.array([0.0, 1.0, -2.0], np.float32)
KINK = np.float32(0.3)
# Each with points at which float32 numbers lie farther apart than the radii, at a jump, a kink or a peak where there is one.
OF_SPACED_NUMBERS = {
    "log": (jnp.log, (1.0, 80.0)),
    "exp": (lambda x: jnp.exp(x + 80) * 1e-34, (0.0,)),
    "floor": (jnp.floor, (1.0, 7.0)),
    "ceil": (jnp.ceil, (1.0, 7.0)),
    "round": (jnp.round, (1.5, 2.5)),
    "sort": (lambda x: jnp.sort(jnp.concatenate([x, 0.7 - x], 1), 1), (0.9, 0.35)),
    "cos": (jnp.cos, (6.2831855, 2.0)),
    "sinc": (jnp.sinc, (0.3, 1.0)),
    "interp": (lambda x: jnp.interp(x, PLACES, VALUES), (1.0, 2.0)),
    "softmax": (lambda x: jax.nn.softmax(jnp.concatenate([x, 2 - x], 1)), (1.0, 3.0)),
    "log_sum_exp": (lambda x: jax.nn.logsumexp(jnp.concatenate([x, 2 - x], 1), axis=1, keepdims=True), (1.0, 30.0)),
    "max": (lambda x: jnp.maximum(x, jnp.asarray(KINK, x.dtype)), (1e-9, 0.3)),
}


@pytest.mark.parametrize("name", OF_SPACED_NUMBERS)
def test_deviations_hold_where_radii_are_near_the_spacing_of_numbers(name):
    f, points = OF_SPACED_NUMBERS[name]
    x = np.array(points, np.float32)[:, None]
    deviation = quick(lambda radius: bounds.deviation(f, x, radius=radius, method="crown_ibp"))
    evaluated = quick(jax.vmap(f))
    spacings = np.spacing(np.maximum(x, KINK))
    for share in (0.01, 0.3, 0.7, 1.3, 5.0, KINK / spacings.max()):
        radius = np.float32(share * spacings.min() * (1 + 1e-6))
        with jax.enable_x64():
            values = np.asarray(evaluated(x.astype(np.float64) + float(radius) * np.linspace(-1, 1, 9)[:, None, None]))
            change = values - values[4]
        below, above = map(np.asarray, deviation(radius))
        assert np.all((below <= change) & (change <= above)), radius
    assert not np.any(np.asarray(deviation(0.0)))
