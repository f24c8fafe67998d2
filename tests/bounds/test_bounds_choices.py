"""Choices by several truth values, whole numbers that depend on x, and functions of jax.numpy that are bounded as a whole."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from quick import quick

from dsrna_jax import bounds

W = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
PLACES, VALUES = np.array([-1.0, 0.0, 0.5, 2.0], np.float32), np.array([0.0, 1.0, -1.0, 3.0], np.float32)
quantised = lambda x: jnp.clip(jnp.round(x / 0.02), -128, 127).astype(np.int8)  # noqa: E731
MASK = np.array([[True, False, True, False]])
GATHERS = [
    lambda x, place: x[jnp.arange(len(x)), place],
    lambda x, place: jnp.take_along_axis(x, place[:, None], 1)[:, 0],
    lambda x, place: jax.vmap(lambda row, place: row[3 - place])(x, place),
    lambda x, place: jnp.take(W, place, axis=0)[:, 1],
    lambda x, place: jnp.asarray(W)[place, 2] * x[:, 0],
    lambda x, place: jnp.take(W[:, 0], jnp.clip((2 * x[:, 1]).astype(int) + 1, 0, 3)),
]
TAKEN_BEYOND = [{"mode": "clip"}, {"mode": "wrap"}, {"mode": "fill", "fill_value": 0.5}]
OF_HIDDEN = [
    lambda z: z.max(1),
    lambda z: (-z).min(1),
    lambda z: z.argmax(1) * 1.0,
    lambda z: jax.nn.logsumexp(z, axis=1, where=MASK),
    lambda z: jax.nn.sigmoid(z).sum(1),
    lambda z: lax.cummax(z, axis=1)[:, 3],
    # values below all that could stand for a border
    lambda z: lax.reduce_window(1e30 * z[:, ::2] - 1e31, -np.inf, lax.max, (1, 2), (1, 1), "SAME").sum(1) * 1e-30,
]

FUNCTIONS = {
    "select": lambda x: jnp.select([x @ W > 0.3, x @ W > 0, x < 0.1], [x, x @ W, 2 * x], 7.0),
    "select of vmap": jax.vmap(lambda x: jnp.select([x > 0.2, x > -0.5], [x, x @ W], -1.0)),
    "piecewise": lambda x: jnp.piecewise(x @ W, [x @ W < -1, x @ W >= 1], [-1.0, lambda z: z**2, lambda z: 2 * z]),
    "counted": lambda x: (x @ W > 0).sum(1, keepdims=True) * x,
    "argmax": lambda x: jnp.argmax(x @ W, 1)[:, None] + x,
    "argmin": lambda x: jnp.where(jnp.argmin(x @ W, 1)[:, None] >= 2, x, -x),
    "one_hot": lambda x: jax.nn.one_hot(jnp.argmax(x @ W, 1), 4) * x,
    "switch": jax.vmap(lambda x: lax.switch((x[0] > 0).astype(int) + (x[1] > 0.5), [jnp.sin, lambda x: x @ W, jnp.abs], x)),
    "switch by a number": jax.vmap(lambda x: lax.switch((3 * x[0]).astype(int), [jnp.sin, lambda x: x @ W, jnp.abs], x)),
    "quantised": lambda x: 0.01 * lax.dot(quantised(x), quantised(W), preferred_element_type=np.int32),
    "quantised in 8 bits": lambda x: 0.01 * (quantised(x) @ quantised(W)),
    "binarised": lambda x: lax.dot((x > 0).astype(np.int8), np.sign(W).astype(np.int8), preferred_element_type=np.int32) * 1.0,
    "table of bytes": lambda x: jnp.asarray(np.arange(256).astype(np.int8))[jnp.clip(30 * x + 128, 0, 255).astype(np.uint8)] / 50,
    "whole quotients": lambda x: (10 * x).astype(int) // 3 + lax.div(abs(9 * x).astype(int), 4) - 1.0 * (5 * x).astype(np.int16),
    "whole remainders": lambda x: lax.rem((10 * x).astype(int), 3) * 1.0 + jnp.sort((5 * x).astype(int) % -4, axis=1),
    "wrapping": lambda x: 0.1 * (100 * x @ W).astype(int).astype(np.int8) - 1e-5 * abs(9 * x).astype(np.uint16) * np.uint16(9999),
    "taken beyond": lambda x: sum(jnp.take(W[0], (3 * x).astype(int), **how) for how in TAKEN_BEYOND),
    "interp": lambda x: jnp.interp(x @ W, PLACES, VALUES),
    "interp of vmap": jax.vmap(lambda x: jnp.interp(x @ W, PLACES, VALUES)),
    "interp with jumps": lambda x: jnp.interp(x @ W, np.array([-1.0, 0, 0, 1, 1]), np.array([2.0, -1, 1, 0.5, 4]), left=-3.0),
    "interp beyond": jax.vmap(lambda x: jnp.interp(x @ W, PLACES, VALUES, left="extrapolate", right=7.0)),
    "places": lambda x: jnp.searchsorted(PLACES, x @ W, side="right") * x + jnp.digitize(x, PLACES[::-1]),
    "places of vmap": jax.vmap(lambda x: jnp.digitize(x @ W, PLACES, right=True) + x),
    "remainder": lambda x: jnp.mod(x @ W, 1.5 + jnp.square(x)) + lax.rem(x, jnp.minimum(x @ W, 0) - 0.3),
    "bessel": lambda x: lax.bessel_i0e(x @ W) + lax.bessel_i1e(3 * x),
    "copysign": lambda x: jnp.copysign(x @ W, x),
    "masks": lambda x: jnp.where(jnp.where(x > 0.1, MASK, ~MASK) & jnp.where(x[:, ::-1] > 0, True, MASK), x @ W, -x),
    "gathered": lambda x: jnp.stack([gather(x, jnp.argmax(x @ W, 1)) for gather in GATHERS], 1),
    "hidden": lambda x: jnp.stack([function(jnp.where(MASK, x, -jnp.inf)) for function in OF_HIDDEN], 1),
    "signbit": lambda x: jnp.where(~jnp.signbit(x @ W), x, 1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_hold_and_are_those_of_the_values_where_nothing_is_undecided(name):
    f = FUNCTIONS[name]
    x = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    compute = quick(lambda r: bounds.bound(f, x, radius=r, method="crown_ibp"))  # the best of intervals and planes
    evaluate = quick(jax.vmap(f))
    moves = np.random.default_rng(1).uniform(-0.999, 0.999, size=(200, *x.shape))
    moves[:50] = 0.999 * np.sign(moves[:50])
    for radius in (1e-6, 0.1, 1.0):
        values = np.asarray(evaluate((x + radius * moves).astype(np.float32)))
        lower, upper = map(np.asarray, compute(radius))
        assert np.all(lower <= values) and np.all(values <= upper), radius
        assert radius > 1e-6 or np.max(upper - lower) < 1e-3


@pytest.mark.parametrize("rounded", [jnp.floor, jnp.ceil, jnp.round, lambda z: z.astype(jnp.int32)])
def test_rounding_to_steps_widens_planes_by_no_more_than_steps(rounded):
    x = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    widths = []
    for g in (lambda z: z, lambda z: rounded(20 * z) / 20):
        lower, upper = quick(lambda x, g=g: bounds.bound(lambda x: g(x @ W) @ W, x, radius=0.5, method="crown"))(x)
        widths.append(np.subtract(upper, lower))
    assert np.all(widths[1] <= widths[0] + 2 * np.abs(W).sum(0) / 20 + 1e-4)


LEAVING_THEIR_TYPE = {
    np.int8: lambda x: (200 * x).astype(np.int8),
    np.uint8: lambda x: (10 * x).astype(np.uint8),
    np.int16: lambda x: (100 * x).astype(np.int16) ** 3,
    np.uint32: lambda x: (abs(9 * x).astype(np.uint32) - np.uint32(5)) * np.uint32(2**28),
    np.int32: lambda x: 2**30 * (x > 0).astype(int) * 4,
}


@pytest.mark.parametrize("dtype", LEAVING_THEIR_TYPE)
def test_whole_numbers_that_may_leave_their_type_may_be_any_of_it(dtype):
    f, range_ = lambda x: LEAVING_THEIR_TYPE[dtype](x).astype(jnp.float32), np.iinfo(dtype)
    x = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    values = np.asarray(quick(jax.vmap(f))(x + np.linspace(-1, 1, 99, dtype=np.float32)[:, None, None]))
    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(f, x, radius=1.0, method="crown_ibp"))(x))
    assert np.all((lower <= values) & (values <= upper))
    np.testing.assert_allclose((lower.min(), upper.max()), (range_.min, range_.max), atol=1e-5 * range_.max)


def test_a_choice_by_one_truth_value_is_the_hinge_that_jnp_where_makes_of_it():
    kinds = bounds.explain(lambda x: jnp.select([x > 0], [x], 0.1 * x), jnp.ones((2, 3))).operations
    assert {"relu"} == set(kinds) - {"affine"}


def test_a_remainder_by_a_divisor_that_may_be_0_has_no_bounds():
    sides = quick(lambda x: bounds.bound(lambda x: lax.rem(x, x - 0.5), x, radius=1.0, method="crown"))
    lower, upper = map(np.asarray, sides(np.zeros((1, 2), np.float32)))
    assert np.all(lower == -np.inf) and np.all(upper == np.inf)


BOUNDED_EVERYWHERE = {
    "sin": jnp.sin,
    "sinc": jnp.sinc,
    "softmax": jax.nn.softmax,
    "angle": lambda x: jnp.arctan2(x, 1.0),
    "clip": lambda x: jnp.clip(x, 0, 1),
    "largest": lambda x: jax.nn.sigmoid(x.max(1, keepdims=True)),
    "interp": lambda x: jnp.interp(x, PLACES, VALUES),
    "digitize": lambda x: jnp.digitize(x, PLACES).astype(x.dtype),
    "heaviside": lambda x: jnp.heaviside(x, 0.5),
    "bessel": lax.bessel_i1e,
    "is_nan": lambda x: jnp.where(jnp.isnan(x), 5.0, jnp.ones_like(x)),
    "is_finite": lambda x: jnp.where(jnp.isfinite(x), jnp.ones_like(x), 5.0),
}


@pytest.mark.parametrize("without, method", [(jnp.log, "crown_ibp"), (jnp.reciprocal, "ibp")])
def test_bounds_cover_where_f_has_no_value_or_any(without, method):
    """Functions of a small range have none where their argument has no value, and are unknown where it is."""

    def f(x):
        return jnp.concatenate([function(without(x)) for function in BOUNDED_EVERYWHERE.values()], 1)

    x, points = np.full((1, 1), 0.5, np.float32), np.linspace(-0.75, 1.75, 21, dtype=np.float32)[:, None]
    values = np.asarray(quick(f)(points))
    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(f, x, radius=1.3, method=method))(x))
    assert np.all((lower <= values) & (values <= upper) | (lower == -np.inf) & (upper == np.inf))


def test_an_interpolation_has_the_range_of_its_points_as_its_interval():
    sides = quick(lambda x: bounds.bound(lambda x: jnp.interp(x, PLACES, VALUES), x, radius=1.0))(np.zeros((1, 1), np.float32))
    np.testing.assert_allclose(sides, [[[-1.0]], [[1.0]]], atol=1e-4)


def test_a_function_that_is_only_called_interp_is_not_taken_for_the_one_of_jax():
    @jax.jit
    def _interp(x, xp, fp):
        return jnp.interp(x, xp, fp) + jnp.exp(-jnp.square(1e3 * (x - 0.123)))

    x = np.full((1, 1), 0.125, np.float32)
    _, upper = quick(lambda x: bounds.bound(lambda x: _interp(x, PLACES, VALUES), x, radius=0.01, method="ibp"))(x)
    assert upper.item() >= _interp(0.123, PLACES, VALUES).item() > 1.5


@pytest.mark.parametrize("length", [4, 12])
def test_imaginary_parts_that_vanish_are_bounded_with_the_rounding_of_a_fast_transform(length):
    """Theirs is relative to the sum of all |x|, and may have either sign, by which an angle jumps from -pi to pi."""
    x = np.random.default_rng(0).normal(size=(4, length)).astype(np.float32)
    x = np.concatenate([x - 2, x - 4 * np.cos(np.pi * np.arange(length, dtype=np.float32))])
    angles = lambda x: jnp.angle(jnp.fft.fft(x.astype(jnp.complex64)))  # noqa: E731
    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(angles, x, radius=1e-6, method="ibp"))(x))
    for values in (quick(angles)(x), np.angle(np.fft.fft(x.astype(np.float64)))):
        assert np.all(lower <= values) and np.all(values <= upper)


TELLING_ZEROS_APART = {
    "copysign": lambda x, zero: x * jnp.copysign(1.0, zero),
    "quotient": lambda x, zero: x * jnp.clip(lax.div(1.0, zero), -1, 1),
    "sign bit": lambda x, zero: jnp.where(jnp.signbit(jnp.float32(zero)), x, -x),
    "angle": lambda x, zero: x * lax.atan2(zero, -1.0),
    "of an array": lambda x, zero: x * jnp.copysign(1.0, np.full((1, 4), zero, np.float32)),
}


def test_operations_on_the_two_zeros_are_told_apart():
    f = lambda x: jnp.concatenate([g(x, 0.0) + 0.5 * g(x, -0.0) for g in TELLING_ZEROS_APART.values()], 1)  # noqa: E731
    x = np.full((1, 4), -1.0, np.float32)
    value, lower, upper = map(np.asarray, (f(x), *quick(lambda x: bounds.bound(f, x, radius=0.1))(x)))
    assert np.all((lower <= value) & (value <= upper))


def test_writes_of_several_values_to_one_entry_are_largest_smallest_and_products_of_them():
    """With constants on either side, dropped indices, and by segments; which of several values `set` leaves is not defined."""
    w, ids = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), jnp.array([0, 1, 0, 0])
    x = np.random.default_rng(1).uniform(size=(2, 3)).astype(np.float32)

    def written(x):
        z = x @ w
        return jnp.concatenate(
            [
                z.at[:, jnp.array([0, 0])].max(z[:, 2:]),
                z.at[:, jnp.array([9, 1, 1])].min(z[:, 1:]),
                z.at[:, jnp.array([0, 0])].multiply(z[:, 2:]),
                z.at[:, jnp.array([0, 0])].max(jnp.array([[0.1, 0.2]])),
                jnp.zeros_like(z).at[:, jnp.array([0, 0])].min(z[:, 2:]),
                jax.vmap(lambda row: jax.ops.segment_max(row, ids, 2))(z),
            ],
            1,
        )

    corners = x[None] + 0.1 * np.float32(list(itertools.product((-1, 0, 1), repeat=3)))[:, None]
    values = np.asarray(jax.jit(jax.vmap(written))(corners))
    lower, upper = map(np.asarray, jax.jit(lambda x: bounds.bound(written, x, radius=0.1, method="ibp"))(x))
    assert (lower[None] <= values).all() and (values <= upper[None]).all()
    np.testing.assert_allclose(upper - lower, np.ptp(values, 0), atol=0.5)
    with pytest.raises(NotImplementedError, match="indices that may repeat"):
        quick(lambda x: bounds.bound(lambda x: x.at[:, jnp.array([0, 0])].set(x[:, 1:]), x, radius=0.1))(x)


def test_writes_to_computed_indices_are_moves_of_entries():
    """Indices by arithmetic, also within jit, whether or not they are said to be unique."""
    n, x = 6, np.random.default_rng(0).uniform(size=(2, 6)).astype(np.float32)
    indices = {
        "reversed": lambda: jnp.arange(n)[::-1],
        "modulo": lambda: (jnp.arange(n) + 2) % n,
        "halved": lambda: jnp.arange(2 * n, step=2) // 2,
        "sorted": lambda: jnp.argsort(-jnp.arange(n)),
        "flipped bits": lambda: jnp.arange(n) ^ 1,
        "wrapped": lambda: jnp.arange(n) - n,
        "by a table": lambda: jnp.array([1, 0, 2, 5, 3, 4])[jnp.arange(n) - 1],
    }

    def written(x, places):
        parts = [jnp.zeros_like(x).at[:, place()].set(x) for place in places]
        return jnp.concatenate([*parts, x.at[:, (jnp.arange(n) + 1) % n].max(2 * x)], 1)

    f = lambda x: written(x, indices.values())  # noqa: E731

    @quick
    def everything(x):
        sides = bounds.bound(f, x, radius=0.1, method="ibp"), bounds.bound(jax.jit(f), x, radius=0.1, method="crown")
        return [place() for place in indices.values()], f(x), sides

    places, value, both = jax.tree.map(np.asarray, everything(x))
    read = np.concatenate([np.argsort(place % n) for place in places])
    for lower, upper in both:
        np.testing.assert_allclose(lower[:, :-n], (x - 0.1)[:, read], atol=1e-6)
        np.testing.assert_allclose(upper[:, :-n], (x + 0.1)[:, read], atol=1e-6)
        assert np.all((lower <= value) & (value <= upper))
