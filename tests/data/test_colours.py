"""Changes of colour are those of Pillow and of Python's colorsys, each drawn as configured, and leave grey images grey."""

import colorsys

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from dsrna_jax.data import augment, colours
from dsrna_jax.errors import InputError
from dsrna_jax.training.config import TrainingConfig

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
PIXELS = IMAGE.astype(np.float32) / 255
jittered, lit = jax.jit(colours.jittered, static_argnums=(2, 3)), jax.jit(colours.lit, static_argnums=2)
turned = jax.jit(colours.turned)
augmented = jax.jit(augment.augmented, static_argnames=("flip", "jitter", "hue", "lighting"))


def draws(**chosen):
    """Numbers that change nothing, in the order of the names, but for those given."""
    names = ("brightness", "contrast", "saturation", "hue")
    return np.float32([*(chosen.get(name, 0.5) for name in names), 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("name", "enhance"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_jitter_is_what_pillow_does_but_for_rounding(name, enhance, draw):
    expected = np.asarray(enhance(Image.fromarray(IMAGE)).enhance(1 + 0.4 * (2 * draw - 1))) / 255
    np.testing.assert_allclose(jittered(PIXELS, draws(**{name: draw}), 0.4, 0.2), expected, atol=2.5 / 255)


def test_hue_is_turned_on_the_circle_of_colorsys():
    for turn in (-0.2, 0.0, 0.13):
        expected = [
            [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in (colorsys.rgb_to_hsv(*map(float, p)) for p in row)]
            for row in PIXELS
        ]
        np.testing.assert_allclose(turned(PIXELS, turn), expected, atol=1e-5)


def test_changes_come_in_the_order_that_is_drawn():
    """Contrast before brightness is not brightness before contrast."""
    forth = draws(brightness=1.0, contrast=1.0)
    back = forth[[0, 1, 2, 3, 5, 4, 6, 7]]
    one, other = (np.asarray(jittered(PIXELS, numbers, 0.4, 0.0)) for numbers in (forth, back))
    assert np.abs(one - other).max() > 0.01


def test_nothing_drawn_changes_nothing_and_lighting_moves_all_pixels_alike():
    np.testing.assert_allclose(jittered(PIXELS, draws(), 0.4, 0.2), PIXELS, atol=1e-6)
    grey = np.full((2, 2, 3), 0.5, np.float32)
    moved = np.asarray(lit(grey, np.float32([0.9, 0.2, 0.6]), 0.1))
    assert np.ptp(moved, axis=(0, 1)).max() == 0 and np.abs(moved - grey).max() > 1e-3
    np.testing.assert_allclose(lit(grey, np.full(3, 0.5, np.float32), 0.1), grey, atol=1e-6)


def test_images_are_jittered_each_by_its_own_numbers_and_colours_do_not_move_other_draws():
    images, key = np.broadcast_to(PIXELS, (8, *PIXELS.shape)), jax.random.key(0)
    changed = np.asarray(augmented(images, key, jitter=0.4, hue=0.2, lighting=0.1))
    assert changed.min() >= 0 and changed.max() <= 1 and len({image.tobytes() for image in changed}) == 8
    black_at_the_left = np.full_like(images, 0.5)
    black_at_the_left[:, :, 0] = 0
    flipped = np.asarray(augmented(black_at_the_left, key, flip=True))
    both = np.asarray(augmented(black_at_the_left, key, flip=True, jitter=0.4))
    np.testing.assert_array_equal(flipped[:, 0, 0, 0] == 0, both[:, 0, 0, 0] == 0)


def test_images_without_colours_are_refused():
    with pytest.raises(ValueError, match="expected images of 3 channels, got 1"):
        augment.augmented(np.zeros((1, 4, 4, 1), np.float32), jax.random.key(0), jitter=0.4)
    with pytest.raises(InputError, match="jitter=0.4, hue=0.0 and lighting=0.0 change colours, but the images of digits have 1"):
        colours.check_colours(TrainingConfig(jitter=0.4), (8, 8, 1))
