"""Encoded images of a split, by number, which are decoded later: all at once or in a stream."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int, Int32

from dsrna_jax.data.dataset import Dataset
from dsrna_jax.data.decoding import Picture, stacked


class Pictures(ABC):
    """The pictures of a split; can be pickled, and is small beside the images.

    name: of the data set.
    source: the name of the split in error messages.
    channels: of every image in a stream.
    side: of the images, if all are known to be squares of that size; else 0.
    has_labels_listed: whether `labels` takes no pass over the files.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    channels: int
    side: int = 0
    has_labels_listed: bool = True

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Picture: ...

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(len(self)))

    @property
    @abstractmethod
    def labels(self) -> Int32[np.ndarray, " examples"]:
        """The label of every picture, which may take a pass over the files."""

    def only(self, indices: Int[np.ndarray, " chosen"]) -> "Pictures":
        """The pictures of those indices, in their order."""
        return _Chosen(self, indices)

    def stacked(self, image_size: int, center_crop: float = 0.0) -> Dataset:
        """All pictures decoded, in memory; arguments and errors as those of `decoding.stacked`."""
        images, labels = stacked(self, len(self), image_size, self.source, center_crop)
        return Dataset(self.name, images, labels, self.class_names)


class _Chosen(Pictures):
    def __init__(self, pictures: Pictures, indices: Int[np.ndarray, " chosen"]):
        self.name, self.source = pictures.name, pictures.source
        self.class_names, self.channels, self.side = pictures.class_names, pictures.channels, pictures.side
        self.has_labels_listed = pictures.has_labels_listed
        self._pictures, self._indices = pictures, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Picture:
        return self._pictures[int(self._indices[index])]

    @property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        return self._pictures.labels[self._indices]


@dataclasses.dataclass(frozen=True)
class PictureReader:
    """A `Reader` of a data set whose pictures can be decoded one by one.

    pictures: split -> its pictures.
    takes_parts: whether a split may be an expression such as `train[:10%]`.
    """

    pictures: Callable[[str], Pictures]
    takes_parts: bool = False

    def __call__(self, split: str, image_size: int) -> Dataset:
        return self.pictures(split).stacked(image_size)
