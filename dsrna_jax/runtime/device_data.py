"""A data set in the memory of the devices, from which programs gather batches by their indices."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from dsrna_jax.runtime import sharding


class DeviceData(NamedTuple):
    """All images and labels of a data set, whole on every device, and the statistics by which pixels are normalised.

    Statistics are data and not constants of a program, since they are those of images that a seed chooses.
    """

    images: UInt8[Array | np.ndarray, "examples height width channel"]
    labels: Int[Array | np.ndarray, " examples"]
    mean: Float[Array | np.ndarray, " channel"]
    std: Float[Array | np.ndarray, " channel"]


def on_devices(data: DeviceData, mesh: Mesh) -> DeviceData:
    """The data set, copied to every device."""
    return jax.device_put(data, sharding.replicated(mesh))


def gathered(
    data: DeviceData, indices: Int[Array, " batch"], mesh: Mesh
) -> tuple[UInt8[Array, "batch height width channel"], Int[Array, " batch"]]:
    """Images and labels of a batch, the images split over the devices; to be called inside a compiled program."""
    return lax.with_sharding_constraint(data.images[indices], sharding.split(mesh)), data.labels[indices]


def evaluation_batches(indices: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`indices` in batches of equal size, each with a mask of those that count: the last batch is padded by repeating indices."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        counts = np.arange(batch_size) < len(part)
        yield np.resize(part, batch_size).astype(np.int32), counts
