"""Randomness of a run: a key is a pure function of (seed, stream, step), so that a resumed run draws as an unbroken one does."""

import jax
from jaxtyping import Array, Int, PRNGKeyArray


def step_key(key: PRNGKeyArray, stream: int, step: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of one step in one stream of the run that `key` is of."""
    return jax.random.fold_in(jax.random.fold_in(key, stream), step)
