"""Bounds in float32 hold what f takes in float64, and in float32 by another compilation, at radii from 1e-8 to 1e4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.rounding import gamma, length, total
from dsrna_jax.errors import InputError

RNG = np.random.default_rng(0)
FIRST, SECOND, OFFSET = RNG.normal(size=(5, 8)), RNG.normal(size=(8, 4)), RNG.normal(size=8)
X = RNG.normal(size=(2, 5)).astype(np.float32)
RADII = (1e-8, 1e-6, 1e-4, 1e-2, 0.3, 1.0, 20.0, 1e2, 1e4)


def like(x, constant):
    return jnp.asarray(constant, x.dtype)


def hidden(x):
    return x @ like(x, FIRST) + like(x, OFFSET)[None]


def normalised(x):
    h = hidden(x)
    centred = h - h.mean(1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(1, keepdims=True) + like(x, 1e-5))


def two_logits(x):
    z = 20 * x[:, 0]
    return jnp.stack([jnp.exp(z) + x[:, 0] / 2, 0.25 + 0 * z], 1)


FUNCTIONS = {
    "relu": lambda x: jax.nn.relu(hidden(x)) @ like(x, SECOND),
    "abs": lambda x: jnp.abs(hidden(x)) @ like(x, SECOND),
    "max": lambda x: jnp.maximum(hidden(x)[:, :4], hidden(x)[:, 4:]),
    "far_apart": lambda x: jnp.maximum(1e4 * hidden(x)[:, :4] - 1e4, hidden(x)[:, 4:]),
    "choice": lambda x: jnp.where(hidden(x)[:, :4] > 0, 1e4 * hidden(x)[:, 4:], hidden(x)[:, 4:] / 1e3 - 1),
    "largest": lambda x: hidden(x).max(1, keepdims=True),
    "gelu": lambda x: jax.nn.gelu(hidden(x)) @ like(x, SECOND),
    "exp": lambda x: jnp.exp(hidden(x)),
    "softmax": lambda x: jax.nn.softmax(hidden(x)),
    "log_sum_exp": lambda x: jnp.log(jnp.exp(hidden(x)).sum(1, keepdims=True)),
    "cube": lambda x: hidden(x) ** 3.0,
    "inverse": lambda x: hidden(x) ** -1.0,
    "inverse_square": lambda x: hidden(x) ** -2.0,
    "quotient": lambda x: hidden(x) * hidden(x) ** -1.0,
    "root": lambda x: jnp.abs(hidden(x)) ** 0.5,
    "product": lambda x: hidden(x)[:, :4] * hidden(x)[:, 4:],
    "complex": lambda x: jnp.real(jnp.exp((0.1 + 1j) * hidden(x)) * (1 + 0.5j)),
    "normalised": normalised,
    "two_logits": two_logits,
}


def inside(norm, radius):
    """Points of the ball: the centre, corners, and others."""
    directions = RNG.choice([-1.0, 1.0], size=(200, *X.shape)) * np.where(RNG.uniform(size=(200, 1, 1)) < 0.5, 1, RNG.uniform())
    if norm != "linf":
        directions /= np.linalg.norm(directions, ord=int(norm[1]), axis=-1, keepdims=True)
    directions[0] = 0
    return X.astype(np.float64) + float(radius) * directions


@pytest.mark.parametrize("name, norm", [*((name, "linf") for name in FUNCTIONS), ("relu", "l2"), ("softmax", "l1")])
def test_bounds_hold_at_every_scale(name, norm):
    f, methods = FUNCTIONS[name], ("ibp", "crown", "hz_crown") if name in ("relu", "softmax") else ("crown",)
    bounded = quick(lambda radius: {m: bounds.bound(f, X, radius=radius, norm=norm, method=m) for m in methods})
    evaluated = jax.jit(jax.vmap(f))
    for radius in np.float32(RADII):
        points = inside(norm, radius)
        with jax.enable_x64(True):
            exact = np.asarray(evaluated(points))
        in_float32 = np.asarray(evaluated(points.astype(np.float32)), np.float64)
        for method, (lower, upper) in bounded(radius).items():
            assert not np.isnan(lower).any() and not np.isnan(upper).any()
            for values in (exact, in_float32):
                values = np.where(np.isfinite(values), values, np.nan)  # f itself overflows
                outside = np.fmax(np.asarray(lower, np.float64) - values, values - np.asarray(upper, np.float64))
                assert not np.any(outside > 0), f"{method} at radius {radius:g}: out of bounds by {np.nanmax(outside):.3g}"


def test_l2_bounds_hold_for_weights_of_any_size():
    """Squares of small weights are 0 in float32, and those of large ones infinite."""
    directions = FIRST.T / np.linalg.norm(FIRST, axis=0)[:, None]
    points = X[:1] + 0.499 * np.concatenate([-directions, directions]).astype(np.float32)
    options = {"radius": 0.5, "norm": "l2"}

    @quick
    def everything(size):
        f = lambda x: jax.nn.relu(x @ (like(x, FIRST) * size))  # noqa: E731
        return f(points), {m: bounds.bound(f, X[:1], method=m, **options) for m in ("ibp", "hz_crown")}

    for size in np.float32([1e-30, 1e-20, 1e-18, 1, 1e18, 1e30]):
        values, bounded = jax.tree.map(np.asarray, everything(size))
        for method, sides in bounded.items():
            lower, upper = (side[0] for side in sides)
            assert np.all(lower <= values) and np.all(values <= upper), f"{method}: weights of {size:g}"
            assert size < 1 or np.all(upper <= 4 * size * np.abs(FIRST).sum(0)), f"{method}: weights of {size:g}"


def test_allowances_are_small_beside_the_radius():
    """Bounds of an affine f are its range, but for rounding."""
    bounded = quick(lambda radius: (*bounds.bound(hidden, X, radius=radius, method="crown"), hidden(X)))
    for radius in np.float32(RADII[2:]):
        lower, upper, value = map(np.asarray, bounded(radius))
        reach = radius * np.abs(FIRST).sum(0)
        np.testing.assert_allclose(np.stack([value - lower, upper - value]), [np.broadcast_to(reach, (2, 8))] * 2, rtol=0.1)


ORIGIN, LABEL = np.zeros((1, 1), np.float32), np.array([0])


@functools.cache
def margin_of_two_logits(method):
    return quick(lambda radius: bounds.margin(two_logits, ORIGIN, LABEL, radius=radius, method=method))


@functools.cache
def radius_of_two_logits(method, steps):
    return quick(lambda start: bounds.certified_radius(two_logits, ORIGIN, LABEL, method=method, start=start, steps=steps))


@pytest.mark.parametrize("method", bounds.METHODS)
def test_a_network_with_an_exponential_is_not_certified_beyond_its_boundary(method):
    assert two_logits(ORIGIN - 1).argmax() == 1
    assert margin_of_two_logits(method)(1.0) < 0


@pytest.mark.parametrize("method, start", [("ibp", 1.0), ("crown", 1e-6), ("crown", 1.0), ("crown", 100.0)])
def test_a_certified_radius_is_certified_wherever_its_search_starts(method, start):
    radius = radius_of_two_logits(method, 25)(start)
    assert margin_of_two_logits(method)(radius) > 0
    assert two_logits(ORIGIN - np.float32(0.999 * radius.item())).argmax() == 0
    reference = radius_of_two_logits(method, 40)(0.02)
    np.testing.assert_allclose(radius, reference, rtol=0.02)


@pytest.mark.parametrize("count", [10, 5000, 300_000])
def test_totals_are_upper_bounds_of_sums(count):
    terms = np.abs(RNG.normal(size=(2, 3, 100, count // 10 // 10)) if count >= 5000 else RNG.normal(size=(2, 3, count))).astype(
        np.float32
    )
    exact = terms.astype(np.float64).sum(tuple(range(2, terms.ndim)))
    above = np.asarray(jax.jit(lambda t: total(t, 2))(terms), np.float64)
    assert np.all(above >= exact) and np.all(above <= exact * (1 + 2 * gamma(count, np.float32)))


def test_an_interval_keeps_the_smaller_end():
    assert Interval(jnp.float32(-1), jnp.float32(4.85e8)).lower == -1


def test_exact_arithmetic_certifies_what_the_worst_case_of_rounding_hides():
    """Interval bounds of ten layers grow so fast that the radius which they certify is near what float32 may round."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(16, 16)).astype(np.float32) / 3 for _ in range(10)]

    def f(x):
        for weights in layers[:-1]:
            x = jax.nn.relu(x @ weights)
        return x @ layers[-1][:, :3]

    x = rng.uniform(size=(1, 16)).astype(np.float32)
    labels = np.argmax(quick(f)(x), 1)
    certified = functools.partial(bounds.certified_radius, f, x, labels, method="ibp", steps=30)
    evaluated, exact = (radius.item() for radius in quick(lambda: [certified(), certified(arithmetic="exact")])())
    assert 0 < 1.05 * evaluated < exact
    with pytest.raises(InputError, match="unknown arithmetic 'real'"):
        bounds.margin(f, x, labels, radius=0.1, arithmetic="real")


def test_nothing_is_certified_where_rounding_may_change_the_class():
    f = lambda x: jnp.concatenate([x + 1e6 - 1e6, x + 2e6 - 2e6], 1)  # noqa: E731
    certified = quick(lambda x: bounds.certified_radius(f, x, LABEL, method="ibp", steps=60))
    assert certified(np.full((1, 1), 0.5, np.float32)).item() == 0


@pytest.mark.parametrize("entries", [(0.0, 0.0), (3.0, -4.0), (1e-30, 1e-30), (1e30, 1e30), (np.inf, 1.0), (np.nan, 1.0)])
def test_a_length_is_an_upper_bound_close_to_that_of_float64(entries):
    exact = np.hypot(*np.array(entries, float))
    found = jax.jit(length, static_argnums=1)(np.float32([entries]), 1).item()
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert not found < np.float32(exact)


def sum_of_exp(x):
    return jnp.exp(x).sum(1, keepdims=True)


BEYOND_RANGE = {
    "softmax": lambda x: jnp.exp(x) / sum_of_exp(x),
    "log_sum_exp": lambda x: jnp.log(sum_of_exp(x)),
    "log_softmax": lambda x: x - jnp.log(sum_of_exp(x)),
    "softplus": lambda x: jnp.log1p(jnp.exp(x)),
    "sigmoid": lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
    "quotient": lambda x: jnp.exp(x - 2) / jnp.full((len(x), 1), 1e38, x.dtype),
}


@pytest.mark.parametrize("name", BEYOND_RANGE)
def test_forms_in_which_f_leaves_its_range_have_no_bounds_there(name):
    """XLA divides by a repeated number by way of its inverse, which is flushed to 0 for the largest numbers."""
    f, directions = BEYOND_RANGE[name], np.linspace(-1, 1, 41, dtype=np.float32)[:, None, None]
    x = np.array([[0.0, 86.0], [0.0, 88.0], [-86.0, -88.0], [1.0, -2.0]], np.float32)
    bounded = quick(lambda x, radius: bounds.bound(f, x, radius=radius, method="crown_ibp"))
    evaluated = quick(jax.vmap(f))
    for radius in np.float32([0.01, 2.0]):
        with jax.enable_x64():
            exact = np.asarray(evaluated(x + np.asarray(radius * directions, np.float64)))
        lower, upper = map(np.asarray, bounded(x, radius))
        for values in (exact, np.asarray(evaluated(x + radius * directions))):
            assert np.all((lower <= values) & (values <= upper) | (lower == -np.inf) & (upper == np.inf))
        assert np.all(np.isfinite(lower[3]) & np.isfinite(upper[3])) or name == "quotient"


def cancelled(x):
    """x, rounded to sixteenths."""
    return (x + np.float32(1e6)) - np.float32(1e6)


BENT = {
    "leaky_relu": lambda x: jax.nn.leaky_relu(cancelled(x), 0.1),
    "where": lambda x: jnp.where(cancelled(x) > 0, cancelled(x), 0.0),
    "max": lambda x: jnp.maximum(cancelled(x), 0.2 * cancelled(x)),
    "max with x": lambda x: jnp.maximum(cancelled(x), 0.2 * x),
    "shifted": lambda x: jnp.maximum(2 * x + np.float32(1e6) - np.float32(1e6), x - 1),
    "compared": lambda x: jnp.where(cancelled(x) > 0.28, 2 * x - 0.28, x),
    "jump": lambda x: jnp.where(x > 0.28, x * np.float32(1.0000006), x),
    "elu": lambda x: jax.nn.elu(cancelled(x)),
}


def test_choices_between_functions_of_one_value_hold_as_they_are_evaluated():
    f = lambda x: jnp.concatenate([g(x) for g in BENT.values()], 1)  # noqa: E731
    x = np.array([[0.28]], np.float32)
    bounded, evaluated = quick(lambda radius: bounds.bound(f, x, radius=radius, method="crown_ibp")), quick(f)
    for radius in np.float32([1e-7, 0.005, 0.3]):
        points = x + radius * np.linspace(-1, 1, 201, dtype=np.float32)[:, None]
        values, lower, upper = map(np.asarray, (evaluated(points), *bounded(radius)))
        outside = ((values < lower) | (values > upper)).any(0)
        assert not outside.any(), (radius, [name for name, is_out in zip(BENT, outside, strict=True) if is_out])


def test_planes_hold_where_products_are_flushed_to_zero():
    x = np.float32([[1e-20], [-1e-20], [0]])
    lower, upper = quick(lambda r: bounds.bound(lambda x: x * jnp.abs(x), x, radius=r, method="crown"))(1e-30)
    exact = np.float64(x) * np.abs(np.float64(x))
    assert np.all(np.float64(lower) <= exact) and np.all(exact <= np.float64(upper))
