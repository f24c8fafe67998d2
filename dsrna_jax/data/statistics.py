"""Statistics of a split that networks are normalised by."""

import numpy as np

from dsrna_jax.data.dataset import Dataset


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images, for pixels in [0, 1].

    Computed from exact counts of the 256 values, so the same on every machine. The standard deviation of a constant channel is
    one grey level, 1/255: that is the least.
    """
    values = np.arange(256) / 255
    shares = [np.bincount(channel.ravel(), minlength=256) / channel.size for channel in np.moveaxis(images, -1, 0)]
    means = [float(share @ values) for share in shares]
    spreads = [float(np.sqrt(share @ (values - mean) ** 2)) for share, mean in zip(shares, means, strict=True)]
    return tuple(means), tuple(max(spread, 1 / 255) for spread in spreads)


def unknown_statistics(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """0.5 for each mean and standard deviation, in place of those of images that are not on this machine."""
    return (0.5,) * dataset.image_shape[-1], (0.5,) * dataset.image_shape[-1]
