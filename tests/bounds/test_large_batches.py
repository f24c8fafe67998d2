"""Bounds of an example are the same in a batch of any size, also where nothing is known of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds

RNG = np.random.default_rng(0)
W, V = (RNG.normal(size=size).astype(np.float32) for size in ((3, 8), (8, 2)))
MANY = 3000  # of 8 entries each: far more than the 4,096 from which XLA's maxima pass over NaN


def of(inner):
    return lambda x: inner(x @ W) @ V


# Of all the first, interval arithmetic cannot tell that they have a value, or one below infinity, for wide boxes.
FUNCTIONS = {
    "sqrt": of(lambda u: jnp.sqrt(1 + jnp.tanh(3 * u))),
    "power": of(lambda u: (1 + jnp.sin(u)) ** 1.5),
    "asin": of(lambda u: jnp.arcsin(1.01 * jnp.tanh(u))),
    "log": of(lambda u: jnp.log(1 + jnp.tanh(u))),
    "reciprocal": of(lambda u: 1 / (u * u - 1)),
    "softmax of logs": of(lambda u: jax.nn.softmax(jnp.log(1 + jnp.tanh(u)))),
    "choice": of(lambda u: jnp.where(u > 0, jnp.sqrt(1 + jnp.tanh(3 * u)), 2 - u)),
    "largest": lambda x: jnp.max(jnp.sqrt(1 + jnp.tanh(3 * x @ W)), 1, keepdims=True),
    "sorted": of(lambda u: jnp.sort(jnp.sqrt(1 + jnp.tanh(3 * u)))),
    "interpolated": of(lambda u: jnp.interp(jnp.sqrt(1 + jnp.tanh(3 * u)), np.arange(4.0), np.array([0.0, 2, 1, 4]))),
    "layer norm": of(lambda u: (s := jnp.sqrt(1 + jnp.tanh(3 * u))) / jnp.sqrt(jnp.square(s).mean(1, keepdims=True) + 1e-3)),
    "tanh": of(jnp.tanh),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_do_not_depend_on_the_size_of_the_batch(name):
    f, x = FUNCTIONS[name], RNG.uniform(-0.5, 0.5, (2, 3)).astype(np.float32)
    methods = ("ibp", "crown")

    def all_of(x, radius):
        return [bounds.bound(f, x, radius=radius, method=method) for method in methods]

    radius = np.array([0.01, 20], np.float32)
    few = jax.tree.map(np.asarray, quick(all_of)(x, radius))
    many = jax.tree.map(np.asarray, quick(all_of)(np.tile(x, (MANY // 2, 1)), np.tile(radius, MANY // 2)))
    for method, small, large in zip(methods, few, many, strict=True):
        for one, other in zip(small, large, strict=True):
            one = np.tile(one, (MANY // 2, 1))
            np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other), method)
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4, err_msg=method)
    if name != "tanh":
        assert not np.isfinite(few[0][0][1]).all(), "the wide box is to have no bounds"
