"""Random keys of a run: pure functions of (seed, stream, step), so that a resumed run draws like an unbroken one."""

import jax
from jaxtyping import Array, Int, PRNGKeyArray


def step_key(key: PRNGKeyArray, stream: int, step: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of a step in a stream, from the key of the run."""
    return jax.random.fold_in(jax.random.fold_in(key, stream), step)
