"""Shares of a sum, and means by them: recognised however they are written, within their range at any radius, and sound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
MASK = np.float32([[[1, 0, 1, 1]]])


def total(e):
    return e.sum(-1, keepdims=True)


def shifted(x):
    return jnp.exp(x - x.max(-1, keepdims=True))


def renormalised(x):
    p = jax.nn.softmax(x) * MASK
    return p / (total(p) + 1e-6)


def masked(x):
    e = jnp.where(MASK > 0, shifted(x), 0)
    return e / (1e-6 + total(e))


def of_two(x):
    a, b = jnp.exp(x[..., 0]), jnp.exp(x[..., 1])
    return jnp.stack([a / (a + b + 1e-3), b / jnp.maximum(a + b, 1e-3)], -1)


# (function, least, greatest value).
SHARES = [
    (lambda x: jnp.exp(x) / (1 + total(jnp.exp(x))), 0, 1),
    (lambda x: jnp.exp(x) / (total(jnp.exp(x)) + 1e-6), 0, 1),
    (lambda x: shifted(x) * (1 / (1e-3 + total(shifted(x)))), 0, 1),
    (lambda x: jnp.exp(x) / (jnp.exp(x) @ jnp.ones((4, 1)) + 1e-6), 0, 1),
    (lambda x: jnp.exp(x) / (jnp.exp(x).mean(-1, keepdims=True) * 4 + 1e-6), 0, 1),
    (lambda x: -2 * jnp.exp(x) / (total(jnp.exp(x)) + 0.5), -2, 0),
    (lambda x: -jnp.exp(x) / (total(jnp.exp(x)) + 0.5), -1, 0),
    (lambda x: -(-3 * jnp.exp(x)) / (total(jnp.exp(x)) + 0.5), 0, 3),
    (lambda x: jnp.exp2(x) / (1e-3 + total(jnp.exp2(x))), 0, 1),
    (masked, 0, 1),
    (lambda x: jnp.exp(x) / (1 + total(jnp.exp(x)) + jnp.square(x)), 0, 1),
    (lambda x: MASK * shifted(x) / (1e-9 + total(MASK * shifted(x))), 0, 1),
    (renormalised, 0, 1),
    (of_two, 0, 1),
    (lambda x: jax.nn.relu(x) / (total(jax.nn.relu(x)) + 1e-6), 0, 1),
    (lambda x: x / (total(jnp.abs(x)) + 1e-6), -1, 1),
    (lambda x: x / jnp.maximum(total(jnp.abs(x)), 1e-6), -1, 1),
    (jax.vmap(jax.vmap(lambda x: jax.nn.sigmoid(x) / (jax.nn.sigmoid(x).sum() + 1e-6))), 0, 1),
    (lambda x: jnp.square(x) / (jnp.square(x).sum(1, keepdims=True) + 1e-3), 0, 1),
    (lambda x: jnp.log(jax.nn.softmax(x) + 1e-9), np.log(1e-9), 1e-6),
]


@pytest.fixture(scope="module")
def computed():
    """Bounds by a radius and the values at a point, of every function at once."""
    compute = quick(lambda r: [bounds.bound(f, X, radius=r, method="ibp") for f, _, _ in SHARES])
    evaluate = quick(lambda x: [f(x) for f, _, _ in SHARES])
    return compute, evaluate


@pytest.mark.parametrize("radius", [1e-6, 0.1, 3.0, 30.0])
def test_bounds_of_shares_stay_in_their_range_and_hold(radius, computed):
    compute, evaluate = computed
    moves = np.random.default_rng(1).uniform(-1, 1, size=(32, *X.shape))
    moves[:16] = np.sign(moves[:16])
    values = [evaluate(np.float32(X + 0.999 * radius * move)) for move in moves]
    for i, (sides, (_, least, most)) in enumerate(zip(compute(radius), SHARES, strict=True)):
        lower, upper = map(np.asarray, sides)
        at = np.stack([value[i] for value in values])
        assert np.all(lower <= at) and np.all(at <= upper), i
        assert np.all(lower >= least - 1e-4 * (1 + abs(least))) and np.all(upper <= most + 1e-4), i


@pytest.mark.parametrize("number", [15, pytest.param(0, marks=pytest.mark.slow)])
def test_planes_of_shares_hold(number):
    f, least, most = SHARES[number]
    w = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
    compute = quick(lambda r: bounds.bound(lambda x: f(x @ w) @ w, X, radius=r, method="crown"))
    scale = max(-least, most) * np.abs(w).sum(0).max()
    for radius in (1e-6, 0.1, 3.0):
        lower, upper = map(np.asarray, compute(radius))
        moves = np.random.default_rng(1).choice([-1, 1], size=(64, *X.shape))
        values = f(np.float32(X + 0.999 * radius * moves) @ w) @ w
        assert np.all(lower[None] <= values) and np.all(values <= upper[None])
        assert np.all(upper <= 1.01 * scale) and np.all(lower >= -1.01 * scale)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.exp(x) / (1 + jnp.exp(x[:, ::-1]).sum((1, 2), keepdims=True) / 20),
        lambda x: jnp.exp(x) / (1 + total(jnp.exp(x[..., ::-1][..., 1:]))),
        lambda x: jnp.exp(x) / (total(jnp.exp(x)) - 0.5),
        lambda x: jnp.exp(x) / (total(jnp.exp(x)) + x),
        lambda x: x / (total(x) + 10),
        lambda x: jnp.exp(x)[..., ::-1] / (total(MASK * jnp.exp(x)) + 1),
        lambda x: jnp.exp(x[:, :3, :3]) / (1 + jnp.exp(x[:, :3, :3]).sum(1)[..., None]),
        lambda x: jnp.exp(x) * (1 / (1 + jnp.sqrt(total(jnp.exp(x))))),
    ],
)
def test_what_looks_like_a_share_and_is_none_is_not_taken_for_one(f):
    assert "share" not in bounds.explain(f, jax.ShapeDtypeStruct(X.shape, np.float32)).operations


def test_shares_that_may_overflow_or_vanish_have_no_range():
    x = np.float32([[80.0, -3.0]])
    share = quick(lambda r: bounds.bound(lambda x: jnp.exp(x) / (1 + total(jnp.exp(x))), x, radius=r, method="ibp"))
    assert not np.all(np.isfinite(share(20.0)))  # f is NaN where exp overflows
    small = quick(lambda r: bounds.bound(lambda x: jax.nn.relu(x) / total(jax.nn.relu(x)), x, radius=r, method="ibp"))
    assert not np.all(np.isfinite(small(100.0)))  # 0 / 0


def scores(x):
    return jnp.einsum("bqd,bkd->bqk", x, x)


MEANS = [  # of x, over its axis 1
    lambda x: (jnp.exp(x) * x).sum(1) / jnp.exp(x).sum(1),
    lambda x: (jax.nn.sigmoid(x[..., :1]) * x).sum(1) / jax.nn.sigmoid(x[..., :1]).sum(1),
    lambda x: jnp.einsum("bk,bkd->bd", jax.nn.softmax(x[..., 0]), x),
    lambda x: jax.nn.softmax(scores(x)) @ x,
    lambda x: jnp.einsum("bkq,bkd->bqd", jax.nn.softmax(scores(x), axis=1), x),
    lambda x: jax.nn.dot_product_attention(*[x[:, :, None]] * 3)[:, :, 0],
]


def test_bounds_of_means_stay_in_the_range_of_their_values_and_hold():
    compute = quick(lambda r: [bounds.bound(f, X, radius=r, method="ibp") for f in MEANS])
    evaluate = quick(lambda x: [f(x) for f in MEANS])
    moves = np.random.default_rng(1).choice([-1, 0, 1], size=(32, *X.shape))
    for radius in (1e-6, 0.1, 2.0):
        values = [evaluate(np.float32(X + 0.999 * radius * move)) for move in moves]
        least, most = X.min(1) - radius, X.max(1) + radius
        for i, sides in enumerate(compute(radius)):
            lower, upper = (np.asarray(side).reshape(2, -1, 4) for side in sides)
            at = np.stack([np.asarray(value[i]).reshape(lower.shape) for value in values])
            assert np.all(lower[None] <= at) and np.all(at <= upper[None]), i
            assert np.all(lower >= least[:, None] - 1e-4) and np.all(upper <= most[:, None] + 1e-4), i


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (jnp.exp(x) * x).sum(2) / jnp.exp(x).sum(1)[:, :3],
        lambda x: (jnp.exp(x) * x).sum(1) / jnp.exp(x[:, :2]).sum(1),
        lambda x: (x * jnp.exp(x)).sum(1) / x.sum(1),
        lambda x: jax.nn.softmax(scores(x), axis=1) @ x,
        lambda x: (jax.nn.softmax(x) * x).sum(1),
        lambda x: (jnp.exp(scores(x))[..., None] * x[:, None]).sum((2, 3)) / jnp.exp(scores(x)).sum(2),
        lambda x: (jnp.exp(x[:, :3, :3]) * x[:, :3, :3]).sum(1) / jnp.exp(x[:, :3, :3]).sum(2),
    ],
)
def test_what_looks_like_a_mean_and_is_none_is_not_taken_for_one(f):
    assert "mean" not in bounds.explain(f, jax.ShapeDtypeStruct(X.shape, np.float32)).operations
