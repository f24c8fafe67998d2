"""Normalisations: recognised however they are written, within their closed-form range at any radius, and sound."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds

SHAPE = (2, 4, 3, 6)
EPS = 1e-3


def layer(module):
    variables = quick(module.init)(jax.random.key(0), jnp.ones(SHAPE))
    return lambda x: module.apply(variables, x)


def centred(x, axes):
    return x - x.mean(axes, keepdims=True)


def squares(x, axes, keep=True):
    return jnp.square(x).sum(axes, keepdims=keep)


def grouped(x):
    groups = x.reshape(*x.shape[:3], 2, 3)
    deviations = groups - groups.mean((1, 2, 4), keepdims=True)
    return (deviations / jnp.sqrt(jnp.square(deviations).mean((1, 2, 4), keepdims=True) + EPS)).reshape(x.shape)


def over(axes):
    """Hand-written normalisations over axes, each with the greatest absolute value for `count` entries."""
    axes, count = tuple(axes), int(np.prod([SHAPE[axis] for axis in axes]))
    wide, narrow, unit = np.sqrt(count), np.sqrt(count - 1), 1.0
    mean = lambda x: x.mean(axes, keepdims=True)  # noqa: E731
    mean_square = lambda x: mean(jnp.square(x))  # noqa: E731
    return [
        (lambda x: centred(x, axes) / jnp.sqrt(x.var(axes, keepdims=True) + EPS), narrow),
        (lambda x: centred(x, axes) * jax.lax.rsqrt(x.var(axes, keepdims=True) + EPS), narrow),
        (lambda x: centred(x, axes) / (x.std(axes, keepdims=True) + EPS), narrow),
        (lambda x: centred(x, axes) / jnp.maximum(x.std(axes, keepdims=True), EPS), narrow),
        (lambda x: 2 * centred(x, axes) * (1 / jnp.sqrt(x.var(axes, keepdims=True) + EPS)), 2 * narrow),
        (lambda x: centred(x, axes) * (mean_square(centred(x, axes)) + EPS) ** -0.5, narrow),
        (lambda x: centred(x, axes) / jnp.sqrt(jax.nn.relu(mean_square(x) - mean(x) ** 2) + EPS), narrow),
        (lambda x: jax.nn.standardize(x, axes, epsilon=EPS), narrow),
        (lambda x: x / jnp.sqrt(mean_square(x) + EPS), wide),
        (lambda x: x * (mean_square(x) + EPS) ** -0.5 * 3, 3 * wide),
        (lambda x: x / (jnp.sqrt(squares(x, axes)) + EPS), unit),
        (lambda x: x / jnp.maximum(jnp.sqrt(squares(x, axes)), EPS), unit),
        (lambda x: x * jax.lax.rsqrt(jnp.maximum(squares(x, axes), EPS)), unit),
        (lambda x: jnp.expand_dims(jax.lax.rsqrt(squares(x, axes, keep=False) + EPS), axes) * x, unit),
    ]


NORMALISATIONS = [
    *((layer(m(epsilon=EPS)), np.sqrt(5)) for m in (nn.LayerNorm, functools.partial(nn.LayerNorm, use_fast_variance=False))),
    (layer(nn.LayerNorm(epsilon=EPS, reduction_axes=(1, 2, 3), feature_axes=(1, 2, 3))), np.sqrt(71)),
    (layer(nn.RMSNorm(epsilon=EPS)), np.sqrt(6)),
    *((layer(nn.GroupNorm(2, epsilon=EPS, use_fast_variance=fast)), np.sqrt(35)) for fast in (True, False)),
    *((layer(nn.InstanceNorm(epsilon=EPS, use_fast_variance=fast)), np.sqrt(11)) for fast in (True, False)),
    (grouped, np.sqrt(35)),
    (lambda x: x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + EPS), 1.0),
    (jax.vmap(lambda x: x / jnp.maximum(jnp.linalg.norm(x), EPS)), 1.0),
    (jax.vmap(jax.vmap(lambda x: (x - x.mean(1)[:, None]) / jnp.sqrt(x.var(1)[:, None] + EPS))), np.sqrt(5)),
    *over((-1,))[::2],
    *over((1, 2))[1::2],
]


def points(x, radius, count=64):
    """Points of a box around x: among them corners, and points where one entry is far from all others."""
    generator = np.random.default_rng(2)
    moves = generator.uniform(-1, 1, size=(count, *x.shape))
    moves[: count // 4] = np.sign(moves[: count // 4])
    for move in moves[count // 4 : count // 2]:
        move[:] = -1
        move[..., generator.integers(move.shape[-1])] = 1
    return x + radius * moves


@pytest.mark.parametrize("number", range(len(NORMALISATIONS)))
def test_bounds_of_a_normalisation_stay_in_its_range_at_any_radius(number):
    f, limit = NORMALISATIONS[number]
    x = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
    assert bounds.explain(f, x).operations.get("normalise") == 1
    compute = quick(lambda r: bounds.bound(f, x, radius=r, method="ibp"))
    evaluate = quick(jax.vmap(f))
    for radius, room in ((1e-4, 1.001), (0.1, 1.01), (1.0, 1.2), (100.0, 20.0)):
        lower, upper = map(np.asarray, compute(radius))
        assert np.all(lower >= -room * limit) and np.all(upper <= room * limit), radius
        values = np.asarray(evaluate(jnp.asarray(points(x, 0.999 * radius), jnp.float32)))
        assert np.all(lower <= values) and np.all(values <= upper), radius


@pytest.mark.parametrize(
    "f",
    [
        lambda x: centred(x, -1) / jnp.sqrt(x.var(1, keepdims=True) + EPS),
        lambda x: centred(x, -1) / jnp.sqrt(x[:, ::-1].var(-1, keepdims=True) + EPS),
        lambda x: centred(x, -1) / jnp.sqrt(x[..., :-1].var(-1, keepdims=True) + EPS),
        lambda x: x / jnp.sqrt(x.var(-1, keepdims=True) + EPS),
        lambda x: x[..., ::-1] / jnp.sqrt(squares(x, 1) + EPS),
        lambda x: x / jnp.sqrt(squares(2 * x, -1) - 0.5 + EPS),
        lambda x: x / jnp.sqrt(squares(x, -1).swapaxes(1, 2).reshape(-1, 4, 3, 1) + 1 + EPS),
        lambda x: x / (squares(x, -1) + EPS),
        lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(jax.nn.relu(jnp.square(x).mean(-1, keepdims=True)) + EPS),
        lambda x: jnp.exp(x) / jnp.sqrt(squares(x, -1) + EPS),
    ],
)
def test_what_looks_like_a_normalisation_and_is_none_is_not_taken_for_one(f):
    assert "normalise" not in bounds.explain(f, jax.ShapeDtypeStruct(SHAPE, np.float32)).operations


@pytest.mark.parametrize(
    "method", ["crown_ibp", *(pytest.param(m, marks=pytest.mark.slow) for m in ("crown", "alpha_crown", "hz_crown"))]
)
def test_networks_with_normalisations_have_sound_bounds_by_planes(method):
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.relu(nn.LayerNorm(epsilon=EPS)(nn.Dense(5)(x))))

    network = Network()
    weights = quick(network.init)(jax.random.key(0), jnp.ones((1, 3)))
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)

    def f(x):
        return jnp.asarray(network.apply(weights, x))

    compute = quick(lambda r: bounds.bound(f, x, radius=r, method=method, iterations=2))
    evaluate = quick(jax.vmap(f))
    for radius in (1e-6, 1e-2, 0.5, 30.0):
        lower, upper = map(np.asarray, compute(radius))
        values = np.asarray(evaluate(jnp.asarray(points(x, 0.999 * radius), jnp.float32)))
        assert np.all(lower <= values) and np.all(values <= upper) and np.max(upper - lower) < 1e3, radius


def test_a_mean_that_is_rounded_takes_a_normalisation_beyond_the_range_that_it_has_in_real_arithmetic():
    """The mean of two neighbouring floating-point numbers is one of them, so that the other deviates by twice as much."""
    x = np.array([[1000.0, np.nextafter(np.float32(1000), np.inf)]], np.float32)

    def f(x):
        return centred(x, 1) / jnp.sqrt(jnp.square(centred(x, 1)).mean(1, keepdims=True) + 1e-12)

    lower, upper = map(np.asarray, quick(lambda x: bounds.bound(f, x, radius=1e-3, method="ibp"))(x))
    values = np.asarray(f(x))
    assert np.abs(values).max() > 1.4 and np.all(lower <= values) and np.all(values <= upper)
