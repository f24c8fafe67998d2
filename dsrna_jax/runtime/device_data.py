"""A data set in the memory of the devices, from which programs gather batches by their indices; or batches of a stream."""

from typing import Any, NamedTuple

import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from dsrna_jax.runtime import sharding


class DeviceData(NamedTuple):
    """All images and labels of a data set, whole on every device, and the statistics by which pixels are normalised.

    images, labels: None where batches come with their own (`StreamedBatch`).

    Statistics are data and not constants of a program, since they are those of images that a seed chooses.
    """

    images: UInt8[Array | np.ndarray, "examples height width channel"] | None
    labels: Int[Array | np.ndarray, " examples"] | None
    mean: Float[Array | np.ndarray, " channel"]
    std: Float[Array | np.ndarray, " channel"]


def on_devices(data: DeviceData, mesh: Mesh) -> DeviceData:
    """The data set, copied to every device."""
    return sharding.placed(data, sharding.replicated(mesh))


class StreamedBatch(NamedTuple):
    """Images uint8 [batch, height, width, channel] and labels [batch], or their shapes; programs take it in place of indices."""

    images: Any
    labels: Any


def gathered(
    data: DeviceData, batch: Int[Array, " batch"] | StreamedBatch, mesh: Mesh
) -> tuple[UInt8[Array, "batch height width channel"], Int[Array, " batch"]]:
    """Images and labels of a batch, the images split over the devices; to be called inside a compiled program.

    Args:
      batch: indices into `data`, or the images and labels themselves.
    """
    if isinstance(batch, StreamedBatch):
        return batch.images, batch.labels
    assert data.images is not None and data.labels is not None, "expected a StreamedBatch"
    return lax.with_sharding_constraint(data.images[batch], sharding.split(mesh)), data.labels[batch]
