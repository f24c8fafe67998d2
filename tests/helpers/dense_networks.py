"""Dense relu networks with random weights, as those of `dense_bounds` and as functions, and their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
from quick import quick

from dsrna_jax import bounds


def layers(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(o, i)) / np.sqrt(i), 0.3 * rng.normal(size=o)) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]


def dense(weights):
    """The network of `dense_bounds` as a function of [batch, in]."""

    def f(x):
        for i, (w, b) in enumerate(weights):
            x = (jax.nn.relu(x) if i else x) @ jnp.asarray(w).T + jnp.asarray(b)[None]
        return x

    return f


def sides(f, x, radius, **options):
    compute = quick(lambda x, radius: bounds.bound(f, x, radius=radius, **options))
    return [np.asarray(side) for side in compute(jnp.asarray(x), jnp.asarray(radius))]
