"""The images of a run, in memory or as a stream that decodes them when they are needed."""

import contextlib
import dataclasses
from collections.abc import Generator
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from dsrna_jax.data import decoding
from dsrna_jax.data.batches import RepeatedTail
from dsrna_jax.data.dataset import Dataset
from dsrna_jax.data.pictures import Pictures
from dsrna_jax.data.published import PUBLISHED_STATISTICS, set_name
from dsrna_jax.data.sources import load, pictures
from dsrna_jax.data.statistics import channel_statistics, statistics_of, value_counts
from dsrna_jax.data.stream import Batches, HostBatch, View, stream
from dsrna_jax.errors import InputError

LOADING = ("auto", "memory", "stream")
SAMPLE = 2048  # images from which the statistics of a stream are estimated
_BATCH = 64  # images that a thread decodes at a time


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset:
    """One split whose images are decoded when they are needed; in memory is a list of the images alone.

    why: the reason for streaming it, in words.
    """

    pictures: Pictures
    image_size: int
    center_crop: float
    why: str

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.pictures.name

    @property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        """Label of every image; for tfds sets this reads all records once."""
        return self.pictures.labels

    @property
    def strata(self) -> Int32[np.ndarray, " examples"]:
        """The classes by which the split is divided into parts: the labels, or one class if they are not listed."""
        return self.labels if self.pictures.has_labels_listed else np.zeros(len(self), np.int32)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.pictures.class_names

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.image_size, self.image_size, self.pictures.channels

    @property
    def view(self) -> View:
        """The view of images without random crops."""
        return View(self.image_size, self.pictures.channels, self.center_crop)


def images_of(config: Any, split: str = "train", published: Dataset | None = None) -> Dataset | StreamedDataset:
    """A split of the data set of a configuration, in memory or as a stream, by its `loading`.

    `auto` streams images that exceed `decoding.MEMORY_LIMIT`, and images for crops at random scale.

    Args:
      config: has dataset, data_dir, image_size, center_crop, crop_area, examples (a cap on the training split) and loading.
      published: a stand-in for the split, to plan with.
    Raises: InputError as `load` does, or if the set must be streamed and cannot.
    """
    place = {"data_dir": config.data_dir or None, "examples": config.examples if split == "train" else 0}
    if config.loading == "memory" and config.crop_area < 1:
        raise InputError(f"crop_area={config.crop_area} needs images at their own size: expected loading=stream or auto")
    encoded = _Described(published) if published else pictures(config.dataset, split, **place)
    reason = _reason(config)
    if encoded is None and reason:
        raise InputError(
            f"{config.dataset} cannot be streamed, but {reason}: expected a tfds set, a folder of images or tar shards"
        )
    if encoded is None or config.loading == "memory":
        framing = {"image_size": config.image_size, "center_crop": config.center_crop}
        return published or load(config.dataset, split, **framing, **place)
    side = config.image_size or encoded.side
    size = len(encoded) * side * side * encoded.channels
    if not reason and size <= decoding.MEMORY_LIMIT:
        return published or encoded.stacked(config.image_size, config.center_crop)
    if not side:
        raise InputError(f"a stream of {config.dataset} needs an image_size, the side to which images are resized, such as 224")
    if published is None:
        encoded[0]  # raises if the split has no labels
    large = f"{size / 2**30:.1f} GiB are more than the {decoding.MEMORY_LIMIT / 2**30:.0f} GiB that are held in memory"
    return StreamedDataset(encoded, side, config.center_crop, reason or large)


def training_statistics(
    dataset: Dataset | StreamedDataset, indices: Int[np.ndarray, " part"]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of the images at `indices`: `channel_statistics`.

    For a stream they are those of the literature (ImageNet), or an estimate from `SAMPLE` images.
    """
    if isinstance(dataset, Dataset):
        return channel_statistics(dataset.images[indices])
    if (known := PUBLISHED_STATISTICS.get(set_name(dataset.name))) is not None:
        return known
    sample = indices[np.linspace(0, len(indices) - 1, min(SAMPLE, len(indices))).astype(int)]  # equally far apart
    return statistics_of(np.sum([value_counts(images) for images, _ in host_batches(dataset, sample, _BATCH)], axis=0))


def host_batches(
    dataset: Dataset | StreamedDataset, indices: Int[np.ndarray, " part"], batch_size: int, workers: int = 0
) -> Generator[HostBatch, None, None]:
    """The images at `indices`, in their order and not augmented, in batches; the last one may be smaller.

    Args:
      workers: as in `stream`.
    """
    order = RepeatedTail(indices, batch_size)
    if isinstance(dataset, Dataset):
        for number in range(len(order)):
            part = order(number)[order.counts(number)]
            yield HostBatch(dataset.images[part], dataset.labels[part])
        return
    with contextlib.closing(stream(Batches(dataset.pictures, dataset.view, order, len(order)), workers=workers)) as batches:
        for number, batch in enumerate(batches):
            yield HostBatch(batch.images[order.counts(number)], batch.labels[order.counts(number)])


def taken(dataset: Dataset | StreamedDataset, indices: Int[np.ndarray, " part"]) -> HostBatch:
    """The images at `indices`, all at once. Raises: TooMuchDataError if they exceed `decoding.MEMORY_LIMIT`."""
    decoding.check_memory((len(indices), *dataset.image_shape), dataset.name)
    batches = list(host_batches(dataset, indices, len(indices) if isinstance(dataset, Dataset) else _BATCH))
    return HostBatch(np.concatenate([batch.images for batch in batches]), np.concatenate([batch.labels for batch in batches]))


def _reason(config: Any) -> str:
    """The reason for which a configuration streams images of any size; empty without one."""
    if config.loading == "stream":
        return "loading=stream asks for it"
    return f"crop_area={config.crop_area} needs images at their own size" if config.crop_area < 1 else ""


class _Described(Pictures):
    """A stand-in for the pictures of a split that is not on this machine."""

    def __init__(self, dataset: Dataset):
        self.name, self.source, self.class_names = dataset.name, f"{dataset.name} train", dataset.class_names
        (self.side, _, self.channels), self._labels = dataset.image_shape, dataset.labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int):
        raise InputError(f"{self.source} is not here: only its number, shape and classes are known")

    @property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        return self._labels
