"""Functions that are bounded as a whole: recognised by their operations alone, and never by their values at points."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounded_operations import Draw
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds.functions import WHOLES
from dsrna_jax.bounds.structure import ANY

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "tanh_gelu": jax.nn.gelu,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "sigmoid": jax.nn.sigmoid,
    "square": jnp.square,
    "soft_sign": jax.nn.soft_sign,
    "hard_swish": jax.nn.hard_swish,
}


def relaxed(f, x=X) -> dict[str, int]:
    """The relaxed operations of f, by name."""
    return {name: count for name, count in bounds.explain(f, x).operations.items() if name != "affine"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whole", WHOLES, ids=lambda whole: whole.name)
def test_every_writing_of_a_function_is_recognised(whole, dtype):
    with jax.enable_x64(dtype == np.float64):
        x = jax.ShapeDtypeStruct((2, 3), dtype)
        for writing in whole.writings:
            if whole.rewrite is None:
                assert relaxed(lambda x, f=writing: f(3 * x + 1), x) == {whole.name: 1}
            else:
                assert relaxed(lambda x, f=writing: f(x, 2.0 * x[:, ::-1]), x) == relaxed(
                    lambda x, f=whole.rewrite: f(x, 2.0 * x[:, ::-1]), x
                )


def test_functions_of_a_number_are_recognised_for_the_numbers_they_hold_for():
    assert relaxed(lambda x: x * jax.nn.sigmoid(1.702 * x)) == {"swish": 1}
    assert relaxed(lambda x: x * jax.nn.sigmoid(-3.0 * x)) == {"swish": 1}
    assert relaxed(lambda x: jax.nn.squareplus(x, 0.3)) == {"squareplus": 1}
    assert relaxed(lambda x: jax.nn.squareplus(x, ANY)) == {"squareplus": 1}
    assert "squareplus" not in relaxed(lambda x: jax.nn.squareplus(x + 9, -0.3))


@pytest.mark.parametrize(
    "f,count",
    [
        (lambda x: jnp.maximum(x, 0.1 * x), 1),
        (lambda x: jnp.minimum(2 * x, x - 1), 1),
        (lambda x: x * (x > 0), 1),
        (lambda x: jnp.where(x > 0, x, 0.2 * x), 1),
        (lambda x: jnp.maximum(x, x[:, ::-1]), 0),
    ],
)
def test_hinges_are_recognised_however_they_are_written(f, count):
    names = relaxed(lambda x: f(x * jnp.asarray([1.0, 2.0, -1.0, 0.5])[None]))
    assert (names == {"relu": 1}) == bool(count)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * jax.nn.sigmoid(x[:, ::-1]),
        lambda x: x * jax.nn.sigmoid(x + 1e-7),
        lambda x: 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.04471 * x**3))),
        lambda x: jnp.log1p(jnp.exp(x - 1e-6)) if False else jnp.log(1.0001 + jnp.exp(x)),
        lambda x: 1 / (1 + jnp.exp(-x)) + 1e-3 * jnp.tanh(1e6 * (x - 0.3)),
    ],
)
def test_functions_that_differ_in_an_operation_or_a_number_are_not_recognised(f):
    assert set(relaxed(f)).isdisjoint({"silu", "swish", "gelu", "tanh_gelu", "softplus"}) and len(relaxed(f)) > 0


def perturbed(draw):
    """(function, place): an activation, and a bump, a dent, a kink or a step as narrow as 1e-4 at a place off every grid."""
    activation = ACTIVATIONS[draw.one(*ACTIVATIONS)]
    place, width, height = draw.number(-4, 4), 10 ** draw.number(-4, -1), draw.one(1, -1) * draw.number(0.1, 2)
    near = lambda x: (x - place) / width  # noqa: E731
    bump = draw.one(
        lambda x: jnp.exp(-jnp.square(near(x))),
        lambda x: jax.nn.relu(1 - jnp.abs(near(x))),
        lambda x: jax.nn.relu(near(x)) - jax.nn.relu(near(x) - 1),
        lambda x: jax.nn.sigmoid(4 * near(x)),
        lambda x: jnp.where(near(x) > 0, 1.0, 0.0),
        lambda x: 1 / (1 + jnp.square(near(x))),
        lambda x: jnp.where((near(x) > -1) & (near(x) < 1), 1.0, 0.0),
    )
    function = draw.one(
        lambda x: activation(x) + height * bump(x),
        lambda x: activation(x + height * bump(x)),
        lambda x: activation(x) * (1 + height * bump(x)),
        lambda x: jnp.where(jnp.abs(near(x)) < 1, activation(x) + height, activation(x)),
        lambda x: jnp.maximum(activation(x), activation(x) + height * bump(x)),
    )
    name = draw.one("relu", "silu", "gelu")
    function.__name__ = name
    return jax.jit(function) if draw.one(True, False) else function, place, width


def test_perturbed_activations_are_never_taken_for_the_plain_ones():
    x = jax.ShapeDtypeStruct((2, 1), np.float32)
    plain = [{}, *(relaxed(f, x) for f in ACTIVATIONS.values())]
    for seed in range(60):
        f, place, width = perturbed(Draw(seed))
        assert relaxed(f, x) not in plain, (seed, place, width)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))])
def test_a_narrow_perturbation_of_an_activation_is_never_certified_away(seed):
    """Points across the perturbation lie within the bounds."""
    f, place, width = perturbed(Draw(100 + seed))
    x = np.full((1, 1), place + 0.03, np.float32)
    at = np.concatenate([np.linspace(-3, 3, 301) * width + place, np.linspace(-0.07, 0.13, 201) + place])
    both = quick(lambda x, at: (f(at), *bounds.bound(f, x, radius=0.15, method="crown_ibp")))
    values, lower, upper = map(np.asarray, both(x, at[:, None].astype(np.float32)))
    inside, slack = np.abs(at - place - 0.03) <= 0.15, 1e-5 * np.abs(values).max()
    assert np.all((lower - slack <= values) & (values <= upper + slack) | ~inside[:, None])


def test_the_interval_of_a_softmax_is_its_closed_form():
    """exp(l_i) / (exp(l_i) + sum of the other exp(u_j)), and the like: each end is taken at a corner of the box."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(2, 4)) * 3
        lower, upper = quick(lambda x: bounds.bound(lambda x: jax.nn.softmax(x), x, radius=0.7, method="ibp"))(x)
        low, high = np.exp(x - 0.7), np.exp(x + 0.7)
        np.testing.assert_allclose(lower, low / (low + high.sum(1, keepdims=True) - high), rtol=1e-10)
        np.testing.assert_allclose(upper, high / (high + low.sum(1, keepdims=True) - low), rtol=1e-10)


@pytest.mark.parametrize("hidden", [-np.inf, *(pytest.param(x, marks=pytest.mark.slow) for x in (-1e38, -1e9))], ids=str)
def test_a_mask_leaves_the_bounds_of_a_softmax_as_those_without_the_masked_entries(hidden):
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    is_kept = np.array([True, False, True, False])
    both = (lambda x: jax.nn.softmax(jnp.where(is_kept, x, hidden)), lambda x: jax.nn.softmax(x[:, ::2]))
    methods = ("ibp", "crown")
    sides = quick(lambda x: [[bounds.bound(f, x, radius=0.1, method=method) for f in both] for method in methods])(x)
    for masked, alone in sides:
        np.testing.assert_allclose(np.asarray(masked)[:, :, ~is_kept], 0, atol=1e-37)
        np.testing.assert_allclose(np.asarray(masked)[:, :, is_kept], alone, atol=1e-5)


@pytest.mark.parametrize("function", [jax.lax.lgamma, jax.lax.digamma])
def test_where_a_curve_has_no_bounds_radius_0_is_still_the_value(function):
    x = np.array([[-0.5, 0.5], [-0.5, 0.5]], np.float32)
    bounded = quick(lambda x: bounds.bound(lambda x: function(x), x, radius=np.array([0.0, 0.1], np.float32)))
    lower, upper = map(np.asarray, bounded(x))
    np.testing.assert_array_equal([lower[0], upper[0]], [function(x[0])] * 2)
    assert lower[1, 0] == -np.inf and upper[1, 0] == np.inf and np.isfinite([lower[1, 1], upper[1, 1]]).all()


def test_a_probability_too_small_for_float32_lies_within_its_bounds():
    x = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(lambda x: jax.nn.softmax(500 * x), x, radius=1e-3))(x))
    points = 500 * (x.astype(np.float64) + np.random.default_rng(1).uniform(-1e-3, 1e-3, size=(100, 4)))
    shares = np.exp(points - points.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    assert 0 < shares.min() < 1e-50 and np.all(lower <= shares) and np.all(shares <= upper)


@pytest.mark.parametrize("method", ["crown_ibp", pytest.param("crown", marks=pytest.mark.slow)])
def test_attention_of_jax_nn_is_bounded(method):
    def attend(x):
        return jax.nn.dot_product_attention(x, x, x)

    x = np.random.default_rng(0).normal(size=(2, 4, 1, 3)).astype(np.float32)
    moves = np.random.default_rng(1).uniform(-0.01, 0.01, size=(20, *x.shape)).astype(np.float32)
    both = quick(lambda x, points: (jax.vmap(attend)(points), *bounds.bound(attend, x, radius=0.01, method=method)))
    values, lower, upper = map(np.asarray, both(x, x + moves))
    assert np.all(lower <= values) and np.all(values <= upper) and np.max(upper - lower) < 0.5


@pytest.mark.parametrize("shift", [lambda x: -80.0, lambda x: x.sum(1, keepdims=True) * 1250], ids=["constant", "sum"])
def test_bounds_of_log_sum_exp_allow_for_the_rounding_of_any_shift(shift):
    """x - shift is rounded relative to the shift, which may be far larger than x and the result."""
    points = np.random.default_rng(0).uniform(-1, 1, size=(20_000, 2)).astype(np.float32) / 30

    def f(x):
        return jnp.log(jnp.exp(x - shift(x)).sum(1, keepdims=True)) + shift(x)

    exact = np.log(np.exp(points.astype(np.float64)).sum(1, keepdims=True))
    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(f, x, radius=1e-9, method="ibp"))(points))
    for values in (exact, np.asarray(f(jnp.asarray(points)), np.float64), np.asarray(jax.jit(f)(points), np.float64)):
        assert np.all(lower <= values) and np.all(values <= upper)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_probabilities_and_attention_stay_within_their_range_at_any_radius(scale):
    w = scale * np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)

    def shares(x):
        return jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x @ w, x))

    compute = quick(lambda r: bounds.bound(shares, x, radius=r, method="ibp"))
    for radius in (0.0, 1e-3, 1.0, 1e4, 1e30):
        sides = np.asarray(compute(radius))
        assert sides.min() >= -1e-4 and sides.max() <= 1 + 1e-4


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.exp(x) / jnp.exp(x).sum(2)[:, None, :],
        lambda x: jnp.exp(x) / jnp.exp(x).sum(1)[:, :, None],
        lambda x: jnp.exp(x) / jnp.exp(2 * x).sum(2, keepdims=True),
        lambda x: jnp.exp(x) / jnp.exp(x - x[:, ::-1]).sum(2, keepdims=True),
        lambda x: jnp.exp(x) / (1e-3 + jnp.exp(x).sum(2, keepdims=True)),
        lambda x: jnp.exp(x) / jnp.exp(x).sum(2, keepdims=True)[:, ::-1],
        lambda x: x - jnp.log(jnp.exp(x).sum(1))[:, :, None],
        lambda x: (
            jnp.where(jnp.eye(3, dtype=bool)[None], x, -jnp.inf).max(2) + jnp.log(jnp.exp(x - x.max(2, keepdims=True)).sum(2))
        ),
    ],
)
def test_what_looks_like_a_softmax_and_is_none_is_not_taken_for_one(f):
    x = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    assert {"softmax", "log_softmax"}.isdisjoint(relaxed(f, x))
    points = x[None] + np.random.default_rng(1).uniform(-0.3, 0.3, size=(200, *x.shape)).astype(np.float32)
    both = quick(lambda x, points: (jax.vmap(f)(points), *bounds.bound(f, x, radius=0.3, method="ibp")))
    values, lower, upper = map(np.asarray, both(x, points))
    assert np.all(lower <= values) and np.all(values <= upper)


def entropy_of(p, log_p):
    return -(p * log_p).sum(1, keepdims=True)


@pytest.mark.parametrize(
    "f,least,greatest",
    [
        (lambda x: jnp.exp(x) / (1 + jnp.exp(x)), 0, 1),
        (lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)), -1, 1),
        (lambda x: (lambda p: entropy_of(p, jnp.log(p)))(jax.nn.softmax(x)), 0, 4 / np.e),
        (lambda x: entropy_of(jax.nn.softmax(x), jax.nn.log_softmax(x)), 0, 4 / np.e),
        (lambda x: (lambda z: entropy_of(jnp.exp(z), z))(jax.nn.log_softmax(x)), 0, 4 / np.e),
    ],
)
def test_functions_of_exponentials_stay_in_their_range_and_are_unknown_where_exponentials_leave_theirs(f, least, greatest):
    compute = quick(lambda r, points: (jax.vmap(f)(points), *bounds.bound(f, X, radius=r, method="ibp")))
    moves = np.random.default_rng(0).uniform(-0.999, 0.999, size=(100, *X.shape))
    for radius in (1e-3, 1.0, 10.0, 100.0):
        values, lower, upper = map(np.asarray, compute(radius, (X + radius * moves).astype(np.float32)))
        assert np.all(np.isnan(values) | (lower <= values) & (values <= upper))
        assert np.all(np.isfinite(values).all(0) | np.isinf(upper - lower))
        assert radius > 10 or np.all((lower > least - 1e-3) & (upper < greatest + 1e-3))
