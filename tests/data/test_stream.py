"""Streams have the batches of memory, from any step, on threads or processes, by one host or several; parts of sets; framing."""

import multiprocessing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import write_folder
from PIL import Image
from prepared_set import write_tfds
from streams import CROPS, assert_same, batches, drawn

from dsrna_jax import data
from dsrna_jax.data import parts
from dsrna_jax.data.framing import ASPECT_RATIOS, center_cropped, random_box, random_resized_crop
from dsrna_jax.data.sources import pictures
from dsrna_jax.data.splits import interleaved_classes
from dsrna_jax.data.stream import Shard, View, stream
from dsrna_jax.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images of all sizes, and its name as a data set."""
    return f"folder:{write_folder(tmp_path_factory.mktemp('images'))}"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    write_tfds(root, [RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8) for _ in range(10)], [0, 1] * 5)
    return root


@pytest.mark.parametrize("kind", ["folder", "tfds"])
def test_a_stream_has_the_batches_of_the_images_in_memory(images, prepared, kind):
    name, root = (images, None) if kind == "folder" else ("toy", str(prepared))
    held, found = data.load(name, "train", root, 8), pictures(name, "train", root)
    np.testing.assert_array_equal(held.labels, found.labels)
    for step, batch in enumerate(drawn(batches(found))):
        indices = data.batch_indices(step, 4, len(held), 3, "train")
        np.testing.assert_array_equal(batch.images, held.images[indices])
        np.testing.assert_array_equal(batch.labels, held.labels[indices])
    assert step == 5


def test_a_stream_goes_on_from_any_batch_as_if_it_had_never_stopped(images):
    source = batches(pictures(images, "train"), CROPS)
    whole = drawn(source)
    for start in (1, 4):
        assert_same(drawn(source, start), whole[start:])
    assert len({batch.images.tobytes() for batch in whole}) == 6


def test_shares_of_hosts_make_up_the_batch(images):
    found = pictures(images, "train")
    shares = [drawn(batches(found, CROPS, Shard(index, 2))) for index in range(2)]
    whole = drawn(batches(found, CROPS))
    assert_same([type(a)(*map(np.concatenate, zip(a, b, strict=True))) for a, b in zip(*shares, strict=True)], whole)
    with pytest.raises(InputError, match="batch_size=4 does not divide among 3 hosts"):
        batches(found, shard=Shard(0, 3))[0]


@pytest.mark.slow
def test_processes_decode_what_threads_decode_also_if_there_are_more_than_batches(images):
    source = batches(pictures(images, "train"), CROPS, count=2)
    assert_same(drawn(source, workers=3), drawn(source))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_corrupt_image_ends_the_stream_where_it_is_met_by_its_name(tmp_path, workers):
    write_folder(tmp_path)
    (tmp_path / "c01" / "02.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(InputError, match="cannot read the image .*c01/02.png"):
        drawn(batches(pictures(str(tmp_path), "train")), workers=workers)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_stream_in_one_line(images):
    source = stream(batches(pictures(images, "train"), count=10**6), workers=1)
    try:
        next(source)
        (child,) = multiprocessing.active_children()
        child.kill()
        with pytest.raises(InputError, match="a process that decodes images was ended .*fewer --workers"):
            for _ in source:
                pass
    finally:
        source.close()
    assert not multiprocessing.active_children()


def test_colour_in_a_set_of_grey_images_is_refused_and_grey_becomes_colour(images):
    found = pictures(images, "train")
    with pytest.raises(InputError, match=r"c0\d/0\d.png is coloured, in a set of grey images"):
        View(8, 1).pixels(found, 0, 0)


# Parts


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 60), st.integers(1, 60))
def test_every_stretch_of_interleaved_classes_has_its_share_of_each(labels, start, length):
    labels = np.unique(labels, return_inverse=True)[1]
    order = interleaved_classes(labels)
    assert sorted(order) == list(range(len(labels)))
    stretch = labels[order[start : start + length]]
    counts = np.bincount(stretch, minlength=labels.max() + 1)
    assert np.all(np.abs(counts - np.bincount(labels) * len(stretch) / len(labels)) < 2)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("x[:10%]", (0, 4)), ("x[90%:]", (36, 40)), ("x[10:-10]", (10, 30)), ("x[-25%:]", (30, 40)), ("folder:/a b[3:4]", (3, 4))],
)
def test_parts_mean_what_they_mean_in_tfds(expression, expected):
    name, part = parts.parsed(expression)
    assert f"{name}{part.text}" == expression and part.range(40) == expected


@pytest.mark.parametrize("part", ["[5:5]", "[:0]", "[41:]", "[:41]", "[-41:]"])
def test_a_part_that_is_empty_or_beyond_the_set_is_refused(part):
    with pytest.raises(InputError, match=r"the part .* of 40 images is empty or out of range"):
        parts.parsed(f"x{part}")[1].range(40)


@pytest.mark.parametrize("name", ["x", "x[1]", "x[:]y", "[:10%]", "x[a:b]"])
def test_other_brackets_belong_to_the_name(name):
    assert parts.parsed(name) == (name, None)


def test_parts_and_caps_work_for_every_source_and_leave_the_test_split_whole(images, prepared):
    for name, root, count in (("digits", None, 1437), (images, None, 9), ("toy", str(prepared), 10)):
        part, whole = data.load(f"{name}[:20%]", "train", root, 8), data.load(name, "train", root, 8)
        assert len(part) == round(count / 5) and len(whole) == count
        assert {image.tobytes() for image in part.images} <= {image.tobytes() for image in whole.images}
        assert (
            len(data.load(name, "train", root, 8, examples=3))
            == 3
            == len(data.load(f"{name}[50%:]", "train", root, 8, examples=3))
        )
        assert len(data.load(name, "train[:50%]", root, 8)) == round(count / 2)
        assert len(data.load(name, "train", root, 8, examples=10**6)) == count
    assert len(data.load("digits[:20%]", "test")) == 360
    assert pictures("digits", "train") is None


# Framing


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.08, 0.99), st.integers(0, 99))
def test_random_boxes_lie_within_the_image_and_have_the_area_and_the_ratio(width, height, least, seed):
    left, top, wide, high = random_box((width, height), least, np.random.default_rng(seed))
    assert 0 <= left <= left + wide <= width and 0 <= top <= top + high <= height and wide > 0 < high
    low, high_ratio = ASPECT_RATIOS
    assert (wide - 1) / (high + 1) <= high_ratio and (wide + 1) / max(high - 1, 1e-9) >= low


def test_a_crop_of_the_whole_area_of_a_square_is_the_resized_square():
    image = Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    rng = np.random.default_rng(0)
    boxes = [random_box((20, 20), 0.9999, rng) for _ in range(20)]
    assert (0, 0, 20, 20) in boxes
    crop = random_resized_crop(image, 8, 0.08, rng)
    assert crop.size == (8, 8)


def test_the_centre_of_a_line_of_a_million_pixels_takes_no_memory_for_the_rest():
    assert (np.asarray(center_cropped(Image.new("L", (1_000_000, 1), 7), 224, 0.875)) == 7).all()


def test_the_centre_crop_of_imagenet_is_that_of_256_and_224():
    """An image 512 pixels high gives its middle 448 by 448, halved."""
    image = Image.fromarray(np.broadcast_to(np.arange(600, dtype=np.uint16)[None, :, None] // 3, (512, 600, 3)).astype(np.uint8))
    seen = np.asarray(center_cropped(image, 224, 0.875))
    assert seen.shape == (224, 224, 3)
    np.testing.assert_allclose(seen[0, :, 0], (76 + 2 * np.arange(224) + 0.5) / 3, atol=1.5)
