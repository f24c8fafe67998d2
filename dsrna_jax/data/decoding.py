"""Image files to arrays: decoding, resizing, and stacking into one array of a split."""

import io
import itertools
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from dsrna_jax.data.formats import readable_suffixes
from dsrna_jax.data.framing import center_cropped
from dsrna_jax.errors import InputError, TooMuchDataError

if TYPE_CHECKING:
    from PIL.Image import Image

MEMORY_LIMIT = 8 * 2**30  # bytes of one split
NEARLY_WHITE = 250  # a level; all of a drawing above it cannot be told from a white ground
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # of greys of 2 and of 4 bits, in greys of 8


class Picture(NamedTuple):
    """An encoded image with its label.

    origin: its name in error messages.
    formats: Pillow's names of the formats that it may have.
    """

    origin: str
    file: Path | io.BytesIO
    label: int
    formats: tuple[str, ...]


def stacked(
    pictures: Iterable[Picture], count: int, image_size: int, source: str, center_crop: float = 0.0
) -> tuple[UInt8[np.ndarray, "count height width channels"], Int32[np.ndarray, " count"]]:
    """Images and labels of `count` pictures; grey images among coloured ones become RGB.

    Args:
      image_size: resize to a square of this side; 0 keeps the size.
      source: the name of the data set in error messages.
      center_crop: as `decoded` takes it.
    Raises: InputError if there are none, one cannot be `decoded`, sizes differ, or they exceed MEMORY_LIMIT.
    """
    if count == 0:
        raise InputError(f"{source} holds no image")
    check_memory((count, image_size, image_size, 1), source)  # before an image is resized
    pending = iter(pictures)
    first = next(pending)
    pixels = decoded(first, image_size, center_crop)
    height, width, _ = pixels.shape
    images, labels = _allocated((count, *pixels.shape), source), np.empty(count, np.int32)
    for position, picture in enumerate(itertools.chain([first], pending)):
        pixels = pixels if picture is first else decoded(picture, image_size, center_crop)
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


def decoded(picture: Picture, image_size: int, center_crop: float = 0.0) -> UInt8[np.ndarray, "height width channels"]:
    """The pixels of a picture `as_viewed`, with one channel (grey) or three.

    Args:
      image_size: side of the square to which it is resized; 0 keeps the size.
      center_crop: share of the shorter side that is kept (`framing.center_cropped`); 0 resizes the whole, not keeping its ratio.
    """
    image = as_viewed(picture)
    pixels = np.asarray(center_cropped(image, image_size, center_crop)) if center_crop else squared(image, image_size)
    return pixels.reshape(*pixels.shape[:2], -1)


def as_viewed(picture: Picture) -> "Image":
    """A picture as a viewer shows it, in Pillow's mode L (grey) or RGB.

    It is turned as its EXIF orientation says, and laid on white where it is transparent: drawings on a transparent ground are
    mostly dark, made for paper and web pages.

    Raises: InputError, which names the picture, if it is unreadable or cut short, has none of its formats, more than 8 bits a
      channel, several frames, more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or if nothing of it is left on white.
    """
    image = _opened(picture)
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{picture.origin} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")
    is_grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = _on_white(image, picture.origin)
    mode = "L" if is_grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _opened(picture: Picture) -> "Image":
    """The decoded image, upright."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF data and the like, which name no file
            with Image.open(picture.file, formats=picture.formats) as image:
                # Which Pillow only warns of, and filters of warnings are shared by all threads.
                if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                    raise Image.DecompressionBombError
                # Photos of several cameras (MPO) open with the main one.
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    raise InputError(f"{picture.origin} has several frames or pages: expected one image a file")
                _check_key(image, picture.origin)
                image.load()
            return _upright(image)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        expected = " or ".join(picture.formats)
        raise InputError(
            f"cannot read the image {picture.origin}: it is no {expected}{_other_format(picture)}; replace or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(
            f"the image {picture.origin} has more than {limit:.0f} million pixels, as files have that are made to exhaust "
            "memory: make it smaller or remove it"
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for a broken file
        raise InputError(f"cannot read the image {picture.origin}: {error}; replace or remove it") from error


def _check_key(image: Any, origin: str) -> None:
    """Scales the transparent colour of a PNG to 8 bits. Pillow scales the pixels so, and leaves this colour as in the file.

    Raises: InputError if it has 16 bits, in which more colours differ.
    """
    key, rawmode = image.info.get("transparency"), str(image.tile[0].args) if image.tile else ""
    if image.format != "PNG" or key is None:
        return
    if rawmode.startswith("RGB;16"):
        raise InputError(f"{origin} has a transparent colour of 16 bits: convert it to 8 bits")
    if rawmode in _GREY_STEPS:
        image.info["transparency"] = key * _GREY_STEPS[rawmode]


def _upright(image: "Image") -> "Image":
    """The image turned as its EXIF data say; damaged EXIF data say nothing, as in viewers."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _on_white(image: "Image", origin: str) -> "Image":
    """The image, RGB, on a white ground. Raises: InputError if it cannot be told from the ground."""
    from PIL import Image

    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)  # colours not multiplied by alpha
    layer = image.convert(straight).convert("RGBA")
    composed = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    low, high = layer.getchannel("A").getextrema()
    is_blank = np.asarray(composed).min() >= NEARLY_WHITE
    if is_blank and (low != high or high == 0):
        raise InputError(
            f"{origin} is transparent, or white on a transparent ground: nothing of it is left on white; lay it on another colour"
        )
    return composed


def _other_format(picture: Picture) -> str:
    """A part of the error about a wrong suffix: the format that the content has, or nothing if it is unknown."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(picture.file, formats=tuple(set(readable_suffixes().values()))) as image:
                return f", but {image.format}: name it so" if isinstance(picture.file, Path) else f", but {image.format}"
    except Exception:
        return ""


def squared(image: "Image", side: int) -> UInt8[np.ndarray, "height width *channels"]:
    """The pixels of an image, resized to a square of that side, bilinear; 0 keeps the size."""
    from PIL import Image

    resized = image.resize((side, side), Image.Resampling.BILINEAR) if side and image.size != (side, side) else image
    return np.asarray(resized)


def _allocated(shape: tuple[int, ...], source: str) -> UInt8[np.ndarray, "count height width channels"]:
    """An array to fill. Raises: TooMuchDataError if it exceeds MEMORY_LIMIT."""
    check_memory(shape, source)
    return np.empty(shape, np.uint8)


def check_memory(shape: tuple[int, ...], source: str) -> None:
    """Raises: TooMuchDataError if images of that shape (count, height, width, channels) exceed MEMORY_LIMIT."""
    count, height, width, channels = shape
    if (size := count * height * width * channels) > MEMORY_LIMIT:
        raise TooMuchDataError(
            f"{source} needs {size / 2**30:.1f} GiB of memory ({count} images, {width}x{height}x{channels}), more than"
            f" the limit of {MEMORY_LIMIT / 2**30:.1f} GiB: give a smaller image_size, or use fewer images"
        )
