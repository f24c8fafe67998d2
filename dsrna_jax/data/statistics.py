"""Statistics of a split that networks are normalised by."""

import numpy as np
from jaxtyping import Int

from dsrna_jax.data.dataset import Dataset


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images, for pixels in [0, 1].

    Computed from exact counts of the 256 values, so the same on every machine. The standard deviation of a constant channel is
    one grey level, 1/255: that is the least.
    """
    return statistics_of(value_counts(images))


def value_counts(images: np.ndarray) -> Int[np.ndarray, "channels 256"]:
    """Counts of each of the 256 values in each channel of uint8 images."""
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)])


def statistics_of(counts: Int[np.ndarray, "channels 256"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`channel_statistics` of the images with those counts."""
    values = np.arange(256) / 255
    shares = [row / row.sum() for row in counts]
    means = [float(share @ values) for share in shares]
    spreads = [float(np.sqrt(share @ (values - mean) ** 2)) for share, mean in zip(shares, means, strict=True)]
    return tuple(means), tuple(max(spread, 1 / 255) for spread in spreads)


def unknown_statistics(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """0.5 for each mean and standard deviation, in place of those of images that are not on this machine."""
    return (0.5,) * dataset.image_shape[-1], (0.5,) * dataset.image_shape[-1]
