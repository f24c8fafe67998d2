"""Random keys by example: what an example draws depends on neither its neighbours nor its place in the batch."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Int, Key, PRNGKeyArray

from dsrna_jax.errors import InputError

KeyOrKeys = PRNGKeyArray | Key[Array, " batch"]
"""One key for the whole batch, or one for each example."""


def example_keys(key: KeyOrKeys | None, examples: int | Int[ArrayLike, " batch"]) -> Key[Array, " batch"]:
    """One key for each example.

    Args:
      key: one key, folded with the number of each example; or keys [batch], returned as they are.
      examples: the size of the batch, or the numbers [batch] of its examples in the whole data set.
    Raises: InputError if `key` is None.
    """
    keys = required(key)
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)
    if jax.random.key_impl(keys) != "threefry2x32" and not keys.ndim:
        # Other generators draw for the batch as a whole.
        keys = jax.random.key(jax.random.bits(keys), impl="threefry2x32")
    if keys.ndim:
        return keys
    return folded(keys, jnp.arange(examples) if isinstance(examples, int) else jnp.asarray(examples))


def required(key: KeyOrKeys | None) -> KeyOrKeys:
    """The key itself. Raises: InputError if it is None."""
    if key is None:
        raise InputError("this draws at random: expected a key such as jax.random.key(0), got None")
    return key


def folded(keys: KeyOrKeys, number: Int[ArrayLike, "..."]) -> KeyOrKeys:
    """Each key folded with `number`, or with its own of `number` [batch]; one key and numbers [batch] give keys [batch]."""
    keys, number = jnp.broadcast_arrays(keys, jnp.asarray(number, jnp.uint32))
    return jax.vmap(jax.random.fold_in)(keys, number) if keys.ndim else jax.random.fold_in(keys, number)
