"""Every augmented image is a shifted, mirrored, holed copy of its own original, whatever lies beside it."""

import itertools

import jax
import numpy as np
import pytest

from dsrna_jax.data import augment

SIZE = (4, 7)  # neither square nor even on both sides
ALL = {"crop_padding": 2, "flip": True, "cutout": 3}
augmented = jax.jit(augment.augmented, static_argnames=("crop_padding", "flip", "cutout"))


def noise(batch=256, size=SIZE):
    """Values above 1/2, so that black comes from augmentation alone."""
    return np.random.default_rng(0).uniform(0.5, 1, (batch, *size, 2)).astype(np.float32)


def shifted(image, padding, row, column):
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    return padded[row : row + image.shape[0], column : column + image.shape[1]]


def test_pixels_map_the_bytes_onto_zero_to_one():
    pixels = augment.pixels(np.arange(256, dtype=np.uint8))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, np.arange(256) / 255, rtol=1e-7)
    with pytest.raises(TypeError, match="uint8"):
        augment.pixels(pixels)


def test_nothing_switched_on_is_the_identity():
    images = noise()
    np.testing.assert_array_equal(augmented(images, jax.random.key(0)), images)


def test_a_crop_is_one_of_the_shifts_and_all_of_them_occur_equally_often():
    images = noise()
    places = list(itertools.product(range(3), repeat=2))
    outputs = augmented(images, jax.random.key(1), crop_padding=1)
    counts = np.bincount(matching(images, outputs, [lambda x, p=p: shifted(x, 1, *p) for p in places]), minlength=9)
    assert counts.min() > 10 and counts.max() < 60


def test_a_flip_mirrors_left_and_right_about_half_of_the_time():
    images = noise()
    turned = matching(images, augmented(images, jax.random.key(2), flip=True), [lambda x: x, lambda x: x[:, ::-1]])
    assert 90 < turned.sum() < 166


def test_crop_and_flip_together_are_a_mirrored_crop():
    images = noise(size=(6, 6))
    copies = [
        lambda x, p=p, turn=turn: shifted(x, 2, *p)[:, ::turn] for p in itertools.product(range(5), repeat=2) for turn in (1, -1)
    ]
    found = matching(images, augmented(images, jax.random.key(3), crop_padding=2, flip=True), copies)
    assert len(set(found)) > 40


def matching(images, outputs, copies):
    """The number of the one of `copies`, functions of the original, that equals the output, for each image."""
    matches = np.array(
        [[np.array_equal(y, copy(x)) for copy in copies] for x, y in zip(images, np.asarray(outputs), strict=True)]
    )
    np.testing.assert_array_equal(matches.sum(1), 1)
    return matches.argmax(1)


@pytest.mark.parametrize("side", [2, 3])
def test_cutout_blackens_one_square_clipped_at_the_border_and_nothing_else(side):
    height, width = SIZE
    images = noise()
    outputs = np.asarray(augmented(images, jax.random.key(4), cutout=side))
    holes = (outputs == 0).all(-1)
    np.testing.assert_array_equal(outputs, np.where(holes[..., None], 0, images))
    squares = {}
    for centre in itertools.product(range(height), range(width)):
        square = np.zeros(SIZE, bool)
        top, left = centre[0] - side // 2, centre[1] - side // 2
        square[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = True
        squares.setdefault(square.tobytes(), set()).add(centre)
    met = {hole.tobytes() for hole in holes}
    assert met <= set(squares)
    assert len(met) > 0.9 * len(squares)  # a centre on each pixel, the last row and column included
    assert holes.sum((1, 2)).max() == side * side


def test_cutout_fills_with_the_colour_of_the_caller():
    images = noise()
    holes = (np.asarray(augmented(images, jax.random.key(5), cutout=3)) == 0).all(-1)
    filled = np.asarray(augmented(images, jax.random.key(5), cutout=3, fill=np.float32([0.25, 0.125])))
    np.testing.assert_array_equal(filled[holes], np.broadcast_to([0.25, 0.125], (holes.sum(), 2)))
    np.testing.assert_array_equal(filled[~holes], images[~holes])


def test_an_output_depends_on_its_own_image_and_place_only():
    images, key = noise(), jax.random.key(6)
    outputs = np.asarray(augmented(images, key, **ALL))
    others = images.copy()
    others[3] = 0.75
    changed = (np.asarray(augmented(others, key, **ALL)) != outputs).any((1, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(changed), [3])
    np.testing.assert_array_equal(augmented(images[:5], key, **ALL), outputs[:5])


def test_options_draw_independently_of_one_another():
    images, key = noise(), jax.random.key(7)
    one_by_one = images
    for option, value in ALL.items():
        one_by_one = augmented(one_by_one, key, **{option: value})
    np.testing.assert_array_equal(one_by_one, augmented(images, key, **ALL))


def test_the_same_key_gives_the_same_images_inside_jit_and_out():
    images, key = noise(), jax.random.key(8)
    outputs = augmented(images, key, **ALL)
    assert outputs.dtype == images.dtype and outputs.shape == images.shape
    np.testing.assert_array_equal(augment.augmented(images, key, **ALL), outputs)
    assert not np.array_equal(augmented(images, jax.random.key(80), **ALL), outputs)


@pytest.mark.parametrize("option", ["crop_padding", "cutout"])
def test_a_negative_option_is_refused(option):
    with pytest.raises(ValueError, match="crop_padding and cutout must not be negative"):
        augment.augmented(noise(), jax.random.key(0), **{option: -1})
