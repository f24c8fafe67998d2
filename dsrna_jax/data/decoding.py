"""Image files to arrays: decoding, resizing, and stacking into one array of a split."""

import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from dsrna_jax.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MEMORY_LIMIT = 8 * 2**30  # bytes of one split


class Picture(NamedTuple):
    """An encoded image with its label, and what error messages call it."""

    origin: str
    file: Path | io.BytesIO
    label: int


def stacked(
    pictures: Iterable[Picture], count: int, image_size: int, source: str
) -> tuple[UInt8[np.ndarray, "count height width channels"], Int32[np.ndarray, " count"]]:
    """Images and labels of `count` pictures; grey images among coloured ones become RGB.

    Args:
      image_size: resize to a square of this side; 0 keeps the size.
      source: what error messages call the whole.
    Raises: InputError if there are none, one is unreadable, sizes differ, or they exceed MEMORY_LIMIT.
    """
    if count == 0:
        raise InputError(f"{source} holds no image")
    pending = iter(pictures)
    first = next(pending)
    pixels = decoded(first, image_size)
    height, width, _ = pixels.shape
    images, labels = _allocated((count, *pixels.shape), source), np.empty(count, np.int32)
    for position, picture in enumerate(itertools.chain([first], pending)):
        pixels = pixels if picture is first else decoded(picture, image_size)
        if pixels.shape[:2] != (height, width):
            raise InputError(
                f"images of {source} differ in size: {first.origin} is {width}x{height},"
                f" {picture.origin} is {pixels.shape[1]}x{pixels.shape[0]} (width x height);"
                " give an image_size, to which all are resized, for example image_size=32"
            )
        if pixels.shape[2] > images.shape[3]:  # the first colour image after grey ones
            grey, images = images, _allocated((count, height, width, 3), source)
            images[:position] = grey[:position]
        images[position], labels[position] = pixels, picture.label
    return images, labels


def decoded(picture: Picture, image_size: int) -> UInt8[np.ndarray, "height width channels"]:
    """The pixels of a picture, with one channel or three. Raises: InputError if it is unreadable or has more than 8 bits."""
    from PIL import Image

    try:
        with Image.open(picture.file) as image:
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for a broken file
        raise InputError(f"cannot read the image {picture.origin}: {error}; replace or remove it") from error
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{picture.origin} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette may hold transparency, which RGB alone warns about
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    pixels = squared(image if image.mode == mode else image.convert(mode), image_size)
    return pixels.reshape(*pixels.shape[:2], -1)


def squared(image: "Image", side: int) -> UInt8[np.ndarray, "height width *channels"]:
    """The pixels of an image, resized to a square of that side, bilinear; 0 keeps the size."""
    from PIL import Image

    resized = image.resize((side, side), Image.Resampling.BILINEAR) if side and image.size != (side, side) else image
    return np.asarray(resized)


def _allocated(shape: tuple[int, ...], source: str) -> UInt8[np.ndarray, "count height width channels"]:
    """An array to fill. Raises: InputError if it exceeds MEMORY_LIMIT."""
    count, height, width, channels = shape
    if (size := count * height * width * channels) > MEMORY_LIMIT:
        raise InputError(
            f"{source} needs {size / 2**30:.1f} GiB of memory ({count} images, {width}x{height}x{channels}), more than"
            f" the limit of {MEMORY_LIMIT / 2**30:.1f} GiB: give a smaller image_size, or use fewer images"
        )
    return np.empty(shape, np.uint8)
