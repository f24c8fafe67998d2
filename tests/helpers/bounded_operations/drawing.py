"""Random attributes and constants, and the table of operations.

`OPERATIONS[name](draw)` is an operation and the shape of one example of its input: a function of [batch, *shape] whose constants
follow the precision of what it is given. `POSITIVE` ones need values above zero.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

OPERATIONS, POSITIVE = {}, set()
IMAGE, VECTOR = (5, 4, 2), (6,)


class Draw:
    """Random attributes and constants."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.generator.integers(low, high + 1))

    def one(self, *choices):
        return choices[self.integer(0, len(choices) - 1)]

    def normal(self, *shape):
        return self.generator.normal(size=shape) / np.sqrt(
            max(shape[0] if len(shape) == 2 else np.prod(shape[:-1], initial=1), 1)
        )

    def number(self, low, high):
        return float(self.generator.uniform(low, high))


def operation(shape, positive=False):
    def add(make):
        name = make.__name__.strip("_")
        OPERATIONS[name] = lambda draw: (make(draw), shape)
        if positive:
            POSITIVE.add(name)
        return make

    return add


def like(x, constant):
    """A constant in the precision of x."""
    return jnp.asarray(constant, x.dtype)


def beside(x, constant):
    """A constant in the precision of x, with axes of size 1 in front up to the rank of x."""
    return lax.broadcast_to_rank(like(x, constant), x.ndim)
