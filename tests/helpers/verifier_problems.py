"""Small random networks with a box, a specification and its exact least value."""

import functools

import dense_bounds
import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax import bounds


def apply(weights, x, activation=jax.nn.relu):
    for i, (w, b) in enumerate(weights):
        x = (activation(x) if i else x) @ w.T + b[None]
    return x


def network(seed, sizes=(3, 5, 5, 2)):
    rng = np.random.default_rng(seed)
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return [(rng.normal(size=(o, i)).astype(np.float32) / i**0.5, 0.3 * rng.normal(size=o).astype(np.float32)) for i, o in pairs]


@functools.cache
def problem(seed):
    """f, a box, a specification of one row, and its exact least value, which is from 0.001 to 0.3 away from 0."""
    weights, rng = network(seed), np.random.default_rng(seed)
    x, radius, row = rng.uniform(-0.5, 0.5, size=3).astype(np.float32), 0.5, np.array([1.0, -0.5])
    least = dense_bounds.exact_least([(w.astype(float), b.astype(float)) for w, b in weights], x.astype(float), radius, row)
    wanted = rng.choice([-1, 1]) * 10 ** rng.uniform(-3, -0.5)
    offset = np.float32(wanted - least)
    specification = bounds.Specification(jnp.asarray(row[None], jnp.float32), jnp.array([offset]))
    return (
        jax.tree_util.Partial(apply, weights),
        bounds.Box.around(jnp.asarray(x[None]), radius),
        specification,
        float(least + offset),
    )
