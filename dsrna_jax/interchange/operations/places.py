"""ONNX operations that find the places of largest entries, or mark places by ones: ArgMax, ArgMin, TopK, OneHot."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation, axis_is_no_batch, axis_of, counted, first_is_batched


def _place_of(largest):
    """ArgMax by `jnp.argmax`, ArgMin by `jnp.argmin`."""

    def apply(node, x):
        axis, keeps = axis_of(node, x.ndim, 0), bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return largest(x, axis, keepdims=keeps)
        return x.shape[axis] - 1 - largest(jnp.flip(x, axis), axis, keepdims=keeps)

    return OnnxOperation(apply, axis_is_no_batch)


def _largest_entries(node, x, count=None):
    """The k largest or smallest entries along an axis, in order, and their places; the first of equal entries comes first."""
    axis = axis_of(node, x.ndim, -1)
    count = int(np.ravel(node.get("k") if count is None else count)[0])
    if not 0 < count <= x.shape[axis]:
        raise InputError(f"K={count}: expected 1 to {x.shape[axis]}, the entries along its axis")
    entries = jnp.moveaxis(x, axis, -1)
    values, places = lax.top_k(entries if node.get("largest", 1) else -entries, count)
    values = values if node.get("largest", 1) else -values
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(places, -1, axis)


def _top_k_takes_batch(node, operands):
    return first_is_batched(node, operands) and axis_of(node, len(operands[0].shape), -1) > 0


def _one_hot(node, places, depth, values):
    """The second of `values` at the given places of a new axis, the first elsewhere, and everywhere for places beyond it."""
    depth, rank = int(np.ravel(depth)[0]), jnp.ndim(places)
    axis = counted(int(node.get("axis", -1)), rank + 1)
    places = jnp.expand_dims(places, axis)
    own = np.arange(depth).reshape([depth if i == axis else 1 for i in range(rank + 1)])
    return jnp.where((places == own) | (places == own - depth), values[1], values[0])


def _one_hot_takes_batch(node, operands):
    return first_is_batched(node, operands) and counted(int(node.get("axis", -1)), len(operands[0].shape) + 1) > 0


OPERATIONS = {
    "ArgMax": _place_of(jnp.argmax),
    "ArgMin": _place_of(jnp.argmin),
    "OneHot": OnnxOperation(_one_hot, _one_hot_takes_batch, static=(1,)),
    "TopK": OnnxOperation(_largest_entries, _top_k_takes_batch, static=(1,)),
}
