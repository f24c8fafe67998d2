"""Folders of images read back exactly; a bad folder ends with one line that names the culprit."""

import numpy as np
import pytest
from noise_images import census, folder, noise, write
from prepared_set import write_tfds

from dsrna_jax import data
from dsrna_jax.data import decoding
from dsrna_jax.errors import InputError

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.mark.parametrize("prefix", ["", "folder:"])
def test_folder_reads_back_exactly_and_its_own_split_partitions_it(tmp_path, prefix):
    written = folder(tmp_path, per_class=11, height=5, width=7)
    train, test = (data.load(f"{prefix}{tmp_path}", split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.image_shape == (5, 7, 3) and train.images.dtype == np.uint8 and train.labels.dtype == np.int32
    pairs = [(image, label) for label, name in enumerate(("cat", "dog")) for image in written[name]]
    everything = census(*zip(*pairs, strict=True))
    assert census(train.images, train.labels) + census(test.images, test.labels) == everything
    assert len(test) == 5 and set(test.labels) == {0, 1}


def test_folder_with_train_and_test_is_read_as_it_is_split(tmp_path):
    written = {split: folder(tmp_path / split, per_class=3) for split in ("train", "test")}
    for split in ("train", "test"):
        read = data.load(str(tmp_path), split)
        np.testing.assert_array_equal(read.images, written[split]["cat"] + written[split]["dog"])
        np.testing.assert_array_equal(read.labels, [0, 0, 0, 1, 1, 1])


def test_classes_of_test_keep_the_labels_they_have_in_train(tmp_path):
    folder(tmp_path / "train", classes=("ant", "cat", "dog"))
    folder(tmp_path / "test", per_class=1, classes=("cat", "dog"))
    read = data.load(str(tmp_path), "test")
    assert read.class_names == ("ant", "cat", "dog")
    np.testing.assert_array_equal(read.labels, [1, 2])


def test_hidden_files_and_folders_are_passed_over_and_counted(tmp_path, caplog):
    folder(tmp_path, per_class=5)
    (tmp_path / "cat" / "._00.png").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    assert len(data.load(str(tmp_path), "train")) == 8
    (said,) = caplog.messages
    assert said.endswith(f"passed over 2 hidden, such as {tmp_path / 'cat' / '._00.png'}")


def test_grey_stays_one_channel_also_with_alpha_or_as_bits(tmp_path):
    folder(tmp_path / "train", per_class=1, channels=1)
    folder(tmp_path / "train", per_class=1, classes=("eel",), channels=2)
    write(tmp_path / "train" / "fox" / "0.png", noise(channels=1) > 127)
    read = data.load(str(tmp_path), "train")
    assert read.image_shape == (6, 6, 1)
    assert set(np.unique(read.images[3])) == {0, 255}


@pytest.mark.parametrize("kinds", [(1, 3, 1, 3), (3, 1, 3, 1), (1, 1, 1, 3)])
def test_a_mix_of_grey_and_colour_becomes_rgb_with_equal_channels_for_grey(tmp_path, kinds):
    written = [
        write(tmp_path / "train" / ("cat" if i < 2 else "dog") / f"{i}.png", noise(channels=c)) for i, c in enumerate(kinds)
    ]
    read = data.load(str(tmp_path), "train")
    np.testing.assert_array_equal(read.images, [np.broadcast_to(image, (6, 6, 3)) for image in written])


def test_images_of_unequal_size_need_an_image_size_and_the_message_shows_two_of_them(tmp_path):
    folder(tmp_path / "train", per_class=2, classes=("cat",), height=6, width=8)
    folder(tmp_path / "train", per_class=2, classes=("dog",), height=9, width=5)
    with pytest.raises(InputError, match=r"cat/00.png is 8x6, .*dog/00.png is 5x9.*image_size"):
        data.load(str(tmp_path), "train")
    assert data.load(str(tmp_path), "train", image_size=4).image_shape == (4, 4, 3)


def test_images_that_do_not_fit_in_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    folder(tmp_path / "train", per_class=8)
    (tmp_path / "train" / "dog" / "07.png").write_text("broken")
    monkeypatch.setattr(decoding, "MEMORY_LIMIT", 16 * 6 * 6 * 3 - 1)
    with pytest.raises(InputError, match=r"GiB of memory \(16 images, 6x6x3\).*smaller image_size"):
        data.load(str(tmp_path), "train")
    monkeypatch.setattr(decoding, "MEMORY_LIMIT", 16 * 6 * 6 * 3)
    with pytest.raises(InputError, match="cannot read"):
        data.load(str(tmp_path), "train")


def test_a_size_that_does_not_fit_in_memory_is_refused_before_an_image_is_resized(tmp_path, monkeypatch):
    folder(tmp_path / "train", per_class=2)
    write_tfds(tmp_path / "sets", [noise()] * 3, [0, 1, 1])
    monkeypatch.setattr(decoding, "squared", None)
    for name in ("digits", str(tmp_path), "toy"):
        with pytest.raises(InputError, match=r"GiB of memory \(\d+ images, 65536x65536x1\).*smaller image_size"):
            data.load(name, "train", str(tmp_path / "sets"), image_size=65536)


def no_folder(path):
    return path / "missing"


def empty_folder(path):
    return path


def one_class(path):
    folder(path, classes=("cat",))
    return path


def one_class_in_train(path):
    folder(path / "train", classes=("cat",))
    return path


def parts_as_classes(path):
    folder(path / "Train")
    folder(path / "Test")
    return path


def class_without_image(path):
    folder(path)
    (path / "eel").mkdir()
    (path / "eel" / "readme.txt").write_text("")
    return path


def lone_image(path):
    folder(path)
    folder(path, per_class=1, classes=("eel",))
    return path


def broken_image(path):
    folder(path / "train", per_class=2)
    file = path / "train" / "dog" / "00.png"
    file.write_bytes(file.read_bytes()[:60])
    return path


def text_as_image(path):
    folder(path / "train", per_class=2)
    (path / "train" / "dog" / "01.png").write_text("hello")
    return path


def sixteen_bits(path):
    folder(path / "train", per_class=2, channels=1)
    write(path / "train" / "dog" / "01.png", np.full((6, 6), 40000, np.uint16))
    return path


def unknown_class_in_test(path):
    folder(path / "train")
    folder(path / "test", classes=("cat", "owl"))
    return path


def no_test(path):
    folder(path / "train")
    return path


@pytest.mark.parametrize(
    "make, split, message",
    [
        (no_folder, "train", "missing is not a folder"),
        (empty_folder, "train", "two or more sub-folders.*found none"),
        (one_class, "train", "two or more sub-folders.*found only cat"),
        (one_class_in_train, "train", "two or more sub-folders.*train.*found only cat"),
        (parts_as_classes, "train", "Test and Train are parts of a data set by their names, no classes: name the one"),
        (class_without_image, "train", "eel holds no image, only 1 .txt: .*png"),
        (lone_image, "train", "eel holds one image"),
        (broken_image, "train", "cannot read the image .*dog/00.png"),
        (text_as_image, "train", "cannot read the image .*dog/01.png: it is no PNG; replace"),
        (sixteen_bits, "train", "dog/01.png has more than 8 bits"),
        (unknown_class_in_test, "test", "owl is not a class of .*train"),
        (no_test, "test", "test, but there is no such folder"),
    ],
)
def test_a_bad_folder_ends_with_one_line_that_names_the_culprit(tmp_path, make, split, message):
    with pytest.raises(InputError, match=message) as caught:
        data.load(f"folder:{make(tmp_path)}", split)
    assert "\n" not in str(caught.value)
