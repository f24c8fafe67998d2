"""Data parallelism: devices share a batch, and each runs the program of a single device on its own examples.

`runtime.sharding.on_each_device` runs a function so, by `jax.shard_map` over the axis "data". Whatever couples the examples of a
batch goes through this module: means and sums over them, and their numbers. On a single device, and outside such a function, it
leaves all as it is and adds nothing to a program.

Devices have equally many examples, so that the mean over the batch is the mean of theirs. A loss is differentiated as the mean
over the device's own examples, and the gradient averaged: `batch_mean(jax.grad(loss))`. A `batch_mean` inside a loss, as in batch
norm, is differentiated as a sum over the devices is, and so takes part in the losses of all of them; the loss itself must not be
averaged before it is differentiated, since it would then count once for every device.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Shaped

AXIS = "data"

Tree = TypeVar("Tree")


def device_count() -> int:
    """Number of devices that share the batch, when a function is traced; 1 outside `on_each_device`."""
    return lax.axis_size(AXIS) if AXIS in jax.sharding.get_abstract_mesh().manual_axes else 1


def batch_mean(tree: Tree) -> Tree:
    """Means over the batch, from means over the examples of this device: one reduction for all arrays of the tree."""
    return lax.pmean(tree, AXIS) if device_count() > 1 else tree


def batch_sum(tree: Tree) -> Tree:
    """Sums over the batch, from sums over the examples of this device."""
    return lax.psum(tree, AXIS) if device_count() > 1 else tree


def example_numbers(count: int) -> Int[Array, " count"]:
    """The numbers, in the whole batch, of the `count` examples of this device."""
    own = jnp.arange(count)
    return own + lax.axis_index(AXIS) * count if device_count() > 1 else own


def own(values: Shaped[Array, "*shape"], axis: int = 0) -> Shaped[Array, "*own_shape"]:
    """The part of an array along `axis`, the whole batch, that belongs to the examples of this device."""
    if (devices := device_count()) == 1:
        return values
    count = values.shape[axis] // devices
    return lax.dynamic_slice_in_dim(values, lax.axis_index(AXIS) * count, count, axis)


def own_draws(draw: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...], axis: int = 0) -> Array:
    """Random numbers `draw(shape)` for a batch on `axis`: those that this device's examples have in a draw for the whole batch.

    Args: shape: that of the result, for this device's examples.
    """
    return own(draw((*shape[:axis], shape[axis] * device_count(), *shape[axis + 1 :])), axis)


def whole(values: Shaped[Array, "own *shape"]) -> Shaped[Array, "batch *shape"]:
    """The values for all examples of the batch, in order, from those of each device."""
    return lax.all_gather(values, AXIS, tiled=True) if device_count() > 1 else values


def own_rows(table: Shaped[Array | np.ndarray, "row *shape"], numbers: Int[Array, " batch"]) -> Shaped[Array, "own *shape"]:
    """Rows of a table for the examples of this device, by the `numbers` [batch] of the rows for the whole batch.

    The devices hold equal parts of the table, in order. Each takes what it has of the batch, and a reduce-scatter brings every
    row to its example: the rows of one batch travel, and the table is nowhere whole.
    """
    if device_count() == 1:
        return table[numbers]
    at = numbers - lax.axis_index(AXIS) * len(table)
    is_here = ((at >= 0) & (at < len(table))).reshape(-1, *[1] * (table.ndim - 1))
    return lax.psum_scatter(jnp.where(is_here, table[jnp.clip(at, 0, len(table) - 1)], 0), AXIS, tiled=True)
