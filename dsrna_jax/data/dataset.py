"""One split of a data set, in host memory."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Int32, UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one split; labels are indices into `class_names`."""

    name: str
    images: UInt8[np.ndarray, "examples height width channels"]
    labels: Int32[np.ndarray, " examples"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def strata(self) -> Int32[np.ndarray, " examples"]:
        """The classes by which the split is divided into parts."""
        return self.labels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        _, height, width, channels = self.images.shape
        return height, width, channels


# Reads a split of one data set: (split, image_size) -> Dataset.
Reader = Callable[[str, int], Dataset]
