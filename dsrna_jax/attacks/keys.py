"""A random key for each example: its draws depend on its number, in the batch or in the data set, and not on its neighbours."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Int, Key, PRNGKeyArray

from dsrna_jax.data_parallel import example_numbers
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import checked_key

KeyOrKeys = PRNGKeyArray | Key[Array, " batch"]
"""One key for the whole batch, or one for each example."""


def example_keys(key: KeyOrKeys | None, examples: int | Int[ArrayLike, " batch"]) -> Key[Array, " batch"]:
    """One key for each example.

    Args:
      key: one key, folded with the number of each example; or keys [batch], returned as they are.
      examples: the size of the batch, or the numbers [batch] of its examples in the whole data set.
    Raises: InputError if `key` is None or no key, or if there are not as many as examples.
    """
    keys = checked_key(key)
    size = examples if isinstance(examples, int) else len(jnp.asarray(examples))
    if keys.shape not in ((), (size,)):
        raise InputError(f"expected one key, or one for each of {size} examples, got keys {keys.shape}")
    if jax.random.key_impl(keys) != "threefry2x32" and not keys.ndim:
        # Under vmap, other generators draw for the batch as a whole.
        keys = jax.random.key(jax.random.bits(keys), impl="threefry2x32")
    if keys.ndim:
        return keys
    return folded(keys, example_numbers(examples) if isinstance(examples, int) else jnp.asarray(examples))


def folded(keys: KeyOrKeys, number: Int[ArrayLike, "..."]) -> KeyOrKeys:
    """Each key folded with `number`, or with its own of `number` [batch]; one key and numbers [batch] give keys [batch]."""
    keys, number = jnp.broadcast_arrays(keys, jnp.asarray(number, jnp.uint32))
    return jax.vmap(jax.random.fold_in)(keys, number) if keys.ndim else jax.random.fold_in(keys, number)
