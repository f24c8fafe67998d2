"""The handwritten digits that ship with scikit-learn: 1797 grey images of 8x8 pixels, no download."""

from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax.data.dataset import Dataset, Reader
from dsrna_jax.data.decoding import check_memory, squared
from dsrna_jax.data.splits import fixed_split


def digits(name: str, data_dir: Path) -> Reader | None:
    """The source of `digits`."""
    return _read if name == "digits" else None


def _read(split: str, image_size: int) -> Dataset:
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    chosen = fixed_split(bunch.target, split)
    images = np.rint(bunch.images[chosen] * (255 / 16)).astype(np.uint8)  # pixels are 0..16
    if image_size:
        check_memory((len(images), image_size, image_size, 1), "digits")
        images = np.stack([squared(Image.fromarray(image), image_size) for image in images])
    return Dataset("digits", images[..., None], bunch.target[chosen].astype(np.int32), tuple("0123456789"))
