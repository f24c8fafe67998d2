"""Crops of images to squares of one size: the centre, or a part at random scale."""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

ASPECT_RATIOS = (3 / 4, 4 / 3)  # width to height of a random crop
_ATTEMPTS = 10


def center_cropped(image: "Image", side: int, share: float) -> "Image":
    """The middle square of an image, `side` pixels wide, after the shorter side was resized to side / share.

    share=0.875 is the published evaluation of ImageNet: resize to 256, crop 224.
    """
    from PIL import Image

    shorter = round(side / share)
    scale = shorter / min(image.size)
    width, height = (shorter if length == min(image.size) else int(length * scale) for length in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    across, down = image.width / width, image.height / height  # only what is kept is resized: the rest may be without end
    box = (left * across, top * down, (left + side) * across, (top + side) * down)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def random_resized_crop(image: "Image", side: int, least_area: float, rng: np.random.Generator) -> "Image":
    """A random part of an image, resized to a square of `side` pixels (Szegedy et al. 2015, arXiv:1409.4842).

    The part has a share of the area that is uniform in [least_area, 1], and a log-uniform aspect ratio in `ASPECT_RATIOS`. If ten
    draws exceed the image, the largest centred part of such a ratio is taken, as in torchvision.
    """
    from PIL import Image

    left, top, width, height = random_box(image.size, least_area, rng)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def random_box(size: tuple[int, int], least_area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(left, top, width, height), in whole pixels, of the part that `random_resized_crop` takes of an image (width, height)."""
    lowest, highest = ASPECT_RATIOS
    for _ in range(_ATTEMPTS):
        area = size[0] * size[1] * rng.uniform(least_area, 1)
        ratio = math.exp(rng.uniform(math.log(lowest), math.log(highest)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= size[0] and 0 < height <= size[1]:
            left, top = rng.integers(size[0] - width + 1), rng.integers(size[1] - height + 1)
            return int(left), int(top), width, height
    ratio = min(max(size[0] / size[1], lowest), highest)
    width = max(1, min(size[0], round(size[1] * ratio)))
    height = max(1, min(size[1], round(size[0] / ratio)))
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height
