"""Random changes of colour, on the device and inside jit: images are float [height, width, 3] in [0, 1], red first."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.errors import InputError

DRAWS = 11  # uniform numbers that an image takes: four for jitter, four for its order, three for lighting

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601, as Pillow has it
# Standard deviations and directions in which the pixels of ImageNet vary (Krizhevsky et al. 2012, section 4.1).
_SPREADS = np.array([0.2175, 0.0188, 0.0045], np.float32)
_DIRECTIONS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
)  # a column each


def check_colours(config: Any, image_shape: tuple[int, int, int]) -> None:
    """Raises: InputError if a configuration changes colours of images that have none."""
    if (config.jitter or config.hue or config.lighting) and image_shape[2] != 3:
        raise InputError(
            f"jitter={config.jitter}, hue={config.hue} and lighting={config.lighting} change colours, but the images of "
            f"{config.dataset} have {image_shape[2]} channel: expected 0, or colour images"
        )


def jittered(image: jax.Array, draws: jax.Array, jitter: float, hue: float) -> jax.Array:
    """Brightness, contrast and saturation times factors in [1 - jitter, 1 + jitter], hue turned by at most `hue` of a circle.

    In a random order, as torchvision's ColorJitter(jitter, jitter, jitter, hue), which rounds to 256 values between them.

    Args:
      draws: 8 numbers, uniform in [0, 1): for the four changes, and for their order.
    """
    factors, turn = 1 + jitter * (2 * draws[:3] - 1), hue * (2 * draws[3] - 1)
    changes = (
        lambda x: jnp.clip(factors[0] * x, 0, 1),
        lambda x: _blended(x, jnp.mean(x @ _GREY), factors[1]),
        lambda x: _blended(x, (x @ _GREY)[..., None], factors[2]),
        lambda x: turned(x, turn),
    )
    order = jnp.argsort(draws[4:8])
    return lax.fori_loop(0, len(changes), lambda i, x: lax.switch(order[i], changes, x), image)


def turned(image: jax.Array, turn: jax.Array) -> jax.Array:
    """The image with every hue moved by a share of the circle; value and saturation (HSV) stay."""
    high, low = image.max(-1), image.min(-1)
    spread = high - low
    red, green, blue = jnp.moveaxis(image, -1, 0)
    safe = jnp.where(spread == 0, 1, spread)
    sextant = jnp.where(
        high == red, (green - blue) / safe, jnp.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    # Each channel is a trapezoid of the hue (Smith 1978): k counts sextants from where it begins to fall.
    k = (jnp.array([5.0, 3.0, 1.0])[None, None] + (sextant + 6 * turn)[..., None]) % 6
    return high[..., None] - spread[..., None] * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)


def lit(image: jax.Array, draws: jax.Array, lighting: float) -> jax.Array:
    """The image plus a colour: normal steps of `lighting` standard deviations in the directions in which ImageNet varies.

    Args:
      draws: 3 numbers, uniform in [0, 1).
    """
    steps = lighting * jax.scipy.special.ndtri(jnp.clip(draws, 1e-6, 1 - 1e-6))
    return jnp.clip(image + (_DIRECTIONS @ (steps * _SPREADS))[None, None], 0, 1)


def _blended(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    """`other` at factor 0, the image at 1, and beyond it above."""
    return jnp.clip(factor * image + (1 - factor) * other, 0, 1)
