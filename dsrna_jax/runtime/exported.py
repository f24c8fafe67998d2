"""Traced functions as bytes (StableHLO, by `jax.export`), and functions compiled from them."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jax.sharding import NamedSharding

from dsrna_jax.runtime import sharding


class Signature(NamedTuple):
    """The arguments and results of a function to export.

    arguments: trees of `jax.ShapeDtypeStruct`.
    placement: sharding of the results.
    is_step: whether its first result is its first argument, the state, after a step. The function then takes over the memory of
      that argument.
    """

    arguments: tuple
    placement: NamedSharding
    is_step: bool

    @property
    def leaves(self) -> list[jax.ShapeDtypeStruct]:
        """The arguments as plain arrays: keys, which jax.export does not take, as their bits."""
        return [_bits(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(self.arguments)]

    @property
    def donated(self) -> tuple[int, ...]:
        """The positions of the arguments whose memory is taken over."""
        return tuple(range(len(jax.tree.leaves(self.arguments[0])))) if self.is_step else ()


def exported(function: Callable, signature: Signature) -> export.Exported:
    """The traced function. Its results, beside a state, must be arrays, tuples, lists and dicts."""
    kinds, structure = jax.tree.flatten(signature.arguments)
    each = sharding.on_each_device(function, signature.arguments, signature.placement.mesh)

    def flat(*leaves):
        given = [jax.random.wrap_key_data(leaf) if _is_key(kind) else leaf for leaf, kind in zip(leaves, kinds, strict=True)]
        result = each(*jax.tree.unflatten(structure, given))
        return (jax.tree.leaves(result[0]), *result[1:]) if signature.is_step else result

    platform = next(iter(signature.placement.device_set)).platform
    jitted = jax.jit(flat, out_shardings=signature.placement)
    return export.export(jitted, platforms=["cuda" if platform == "gpu" else platform])(*signature.leaves)


def compiled(program: export.Exported, signature: Signature, name: str, options: dict[str, Any]) -> Callable:
    """The program compiled with XLA's `options`, as a function of the arguments of `signature`; `name`: of its XLA module."""

    def flat(*leaves):
        return program.call(*leaves)

    flat.__name__ = flat.__qualname__ = name
    jitted = jax.jit(flat, donate_argnums=signature.donated, out_shardings=signature.placement)
    executable = jitted.lower(*signature.leaves).compile(compiler_options=options)
    state = jax.tree.structure(signature.arguments[0]) if signature.is_step else None

    def call(*arguments):
        leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(arguments)]
        result = executable(*leaves)
        return result if state is None else (jax.tree.unflatten(state, result[0]), *result[1:])

    return call


def module_name(name: str, facts: Any) -> str:
    """A name of a compiled function that only programs of equal `facts` (by their repr) share."""
    return f"{name}_{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bits(key: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    bits = jax.eval_shape(jax.random.key_data, key)
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=key.sharding)
