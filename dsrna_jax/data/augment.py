"""Augmentation of images, on the device and inside jit."""

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.data import colours
from dsrna_jax.data_parallel import example_numbers

_COLOURS = 2**32 - 1  # a stream of its own, beside those of images, which are numbered


def pixels(images: jax.Array) -> jax.Array:
    """uint8 images, of any shape, as float32 in [0, 1]. Raises: TypeError if they are not uint8."""
    if images.dtype != jnp.uint8:
        raise TypeError(f"expected images of dtype uint8, got {images.dtype}; float images are pixels already")
    return images.astype(jnp.float32) / 255


def augmented(
    images: jax.Array,
    key: jax.Array,
    *,
    crop_padding: int = 0,
    flip: bool = False,
    jitter: float = 0.0,
    hue: float = 0.0,
    lighting: float = 0.0,
    cutout: int = 0,
    fill: float | jax.Array = 0.0,
) -> jax.Array:
    """The DARTS recipe on `images`, float [batch, height, width, channels] in [0, 1]: random crop, flip, colours, cutout.

    Example i depends on its own pixels and fold_in(key, i) alone: not on the rest of the batch, nor on the devices.
    The draws of one option do not depend on whether the others are on.

    DARTS pads raw pixels with 0 and cuts out after normalising, where 0 is the mean colour. Our networks normalise inside, so
    that `fill` is black unless the caller passes the mean of the data set, which reproduces DARTS exactly.

    Args:
      key: one typed key (`jax.random.key`).
      crop_padding: pad every side by as many black pixels and cut the size out again, at a uniform place; 0 is off.
      flip: mirror left and right with probability 1/2.
      jitter: as `colours.jittered` takes it; 0 is off.
      hue: as `colours.jittered` takes it; 0 is off.
      lighting: as `colours.lit` takes it; 0 is off.
      cutout: side of a square whose centre is uniform over the pixels, clipped at the border (DeVries and Taylor 2017,
        arXiv:1708.04552); 0 is off. An even side s covers [centre - s/2, centre + s/2), as in DARTS.
      fill: value of the pixels cut out, a number or [channels].
    Raises: ValueError if `crop_padding` or `cutout` is negative, or if colours are to change of images without three channels.
    """
    if crop_padding < 0 or cutout < 0:
        raise ValueError(f"crop_padding and cutout must not be negative, got {crop_padding} and {cutout}")
    height, width, channels = images.shape[1:]
    if (jitter or hue or lighting) and channels != 3:
        raise ValueError(f"jitter, hue and lighting change colours: expected images of 3 channels, got {channels}")
    draws = _draws(key, len(images))
    if crop_padding:
        places = _floor(draws[:, :2] * (2 * crop_padding + 1))
        images = jax.vmap(lambda image, place: _cropped(image, place, crop_padding))(images, places)
    if flip:
        images = jnp.where((draws[:, 2] < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    if jitter or hue or lighting:
        of_colours = _draws(jax.random.fold_in(key, _COLOURS), len(images), colours.DRAWS)
        if jitter or hue:
            images = jax.vmap(lambda image, numbers: colours.jittered(image, numbers, jitter, hue))(images, of_colours[:, :8])
        if lighting:
            images = jax.vmap(lambda image, numbers: colours.lit(image, numbers, lighting))(images, of_colours[:, 8:])
    if cutout:
        rows, columns = _floor(draws[:, 3] * height), _floor(draws[:, 4] * width)
        holes = _span(rows, height, cutout)[:, :, None] & _span(columns, width, cutout)[:, None, :]
        images = jnp.where(holes[..., None], jnp.broadcast_to(fill, images.shape).astype(images.dtype), images)
    return images


def _draws(key: jax.Array, batch: int, count: int = 5) -> jax.Array:
    """Uniform in [0, 1), [batch, count]; by default two for the crop, one for the flip, two for the cutout.

    One call for all of them, because each call of the generator takes XLA a fraction of a second to compile.
    """
    return jax.vmap(lambda index: jax.random.uniform(jax.random.fold_in(key, index), (count,)))(example_numbers(batch))


def _floor(values: jax.Array) -> jax.Array:
    return jnp.floor(values).astype(jnp.int32)


def _cropped(image: jax.Array, place: jax.Array, padding: int) -> jax.Array:
    """[height, width, channels], cut at `place` (row, column) from the image padded with black."""
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    return lax.dynamic_slice(padded, (place[0], place[1], 0), image.shape)


def _span(centres: jax.Array, size: int, side: int) -> jax.Array:
    """bool [batch, size]: true at the `side` positions around each centre, as far as they lie inside."""
    offset = jnp.arange(size)[None, :] - centres[:, None] + side // 2
    return (offset >= 0) & (offset < side)
