"""A data set in the memory of the devices, from which programs gather batches by their indices; or batches of a stream."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from dsrna_jax.data_parallel import own, own_rows
from dsrna_jax.runtime import sharding


class DeviceData(NamedTuple):
    """All images and labels of a data set, the statistics by which pixels are normalised, and numbers of the configuration.

    images, labels: None where batches come with their own (`StreamedBatch`). Images are divided among the devices, the rest is
      whole on each.

    Statistics are data and not constants of a program, since they are those of images that a seed chooses. So are the `numbers`,
      by the names of their options (`options.InPrograms`), so that a program serves all their values.
    """

    images: UInt8[Array | np.ndarray, "examples height width channel"] | None
    labels: Int[Array | np.ndarray, " examples"] | None
    mean: Float[Array | np.ndarray, " channel"]
    std: Float[Array | np.ndarray, " channel"]
    numbers: dict[str, Any]


def on_devices(data: DeviceData, mesh: Mesh) -> DeviceData:
    """The data set on the devices, from host memory."""
    others = sharding.placed(data._replace(images=None), sharding.replicated(mesh))
    return others._replace(images=None if data.images is None else sharding.divided(np.asarray(data.images), mesh))


def abstract(data: DeviceData, mesh: Mesh) -> DeviceData:
    """The shapes of `on_devices(data, mesh)`, with their shardings."""

    def like(x, shape, placement):
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=placement)

    others = jax.tree.map(lambda x: like(x, x.shape, sharding.replicated(mesh)), data._replace(images=None))
    if (images := data.images) is None:
        return others
    rows = sharding.rows_padded(len(images), mesh)
    return others._replace(images=like(images, (rows, *images.shape[1:]), sharding.split(mesh)))


class StreamedBatch(NamedTuple):
    """Images uint8 [batch, height, width, channel] and labels [batch], or their shapes; programs take it in place of indices."""

    images: Any
    labels: Any


class Given(Protocol):
    """The functions of a run, which can be had with other statistics of pixels and other numbers in the configuration."""

    def given(self, mean: Any, std: Any, numbers: Mapping[str, Any]) -> Any:
        """The functions with these, which may be traced: then they are no constants of a program."""
        ...


Functions = TypeVar("Functions", bound=Given)


def given(functions: Functions, data: DeviceData) -> Functions:
    """The functions with the statistics and the numbers of `data`; to be called inside a compiled program."""
    return functions.given(data.mean, data.std, data.numbers)


def gathered(
    data: DeviceData, batch: Int[Array, " batch"] | StreamedBatch
) -> tuple[UInt8[Array, "own height width channel"], Int[Array, " own"]]:
    """Images and labels of a batch, those of the examples of this device; to be called inside a compiled program.

    Args:
      batch: indices into `data` of the whole batch, or the images and labels of this device themselves.
    """
    if isinstance(batch, StreamedBatch):
        return batch.images, batch.labels
    assert data.images is not None and data.labels is not None, "expected a StreamedBatch"
    return own_rows(data.images, batch), data.labels[own(batch)]
