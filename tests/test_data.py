"""Data sets read back exactly, splits and halves partition, batches are a pure function, bad data says what to do."""

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from prepared_set import write_tfds

from dsrna_jax import data
from dsrna_jax.data import decoding, sources, tfds
from dsrna_jax.errors import InputError

RNG = np.random.default_rng(0)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def noise(height=6, width=6, channels=3):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)
    return pixels


def folder(path, per_class=10, classes=("cat", "dog"), **shape):
    return {name: [write(path / name / f"{i:02}.png", noise(**shape)) for i in range(per_class)] for name in classes}


def census(images, labels):
    return collections.Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


# Digits


def test_digits_are_split_into_two_disjoint_stratified_parts_that_cover_all():
    from sklearn.datasets import load_digits

    train, test = data.load("digits", "train"), data.load("digits", "test")
    whole = load_digits()
    expected = census(np.rint(whole.images * 255 / 16).astype(np.uint8), whole.target)
    assert census(train.images, train.labels) + census(test.images, test.labels) == expected
    assert (len(train), len(test)) == (1437, 360)
    share = np.bincount(test.labels) / np.bincount(whole.target)
    assert share.min() > 0.19 and share.max() < 0.21


def test_digits_have_the_declared_shapes_and_use_all_grey_levels():
    digits = data.load("digits", "test")
    assert digits.images.dtype == np.uint8 and digits.labels.dtype == np.int32
    assert digits.image_shape == (8, 8, 1) and digits.classes == 10 and len(digits) == len(digits.images)
    assert digits.images.min() == 0 and digits.images.max() == 255
    assert np.array_equal(digits.images, data.load("digits", "test").images)


def test_digits_can_be_resized_and_keep_their_mean_brightness():
    small, large = data.load("digits", "test"), data.load("digits", "test", image_size=16)
    assert large.image_shape == (16, 16, 1)
    np.testing.assert_array_equal(small.labels, large.labels)
    assert abs(small.images.mean() - large.images.mean()) < 1


# Folders


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


def test_hidden_files_are_passed_over_silently(tmp_path, caplog):
    folder(tmp_path, per_class=5)
    (tmp_path / "cat" / "._00.png").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    assert len(data.load(str(tmp_path), "train")) == 8 and not caplog.text


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


# tfds


def test_tfds_set_reads_back_exactly_by_name_version_and_part(tmp_path, monkeypatch):
    images, labels = [noise() for _ in range(6)], [0, 1, 1, 0, 1, 0]
    write_tfds(tmp_path, images, labels)
    monkeypatch.setattr(tfds, "READ_AHEAD", 4)
    read = data.load("toy", "train", str(tmp_path))
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, labels)
    assert read.labels.dtype == np.int32 and read.class_names == ("cat", "dog")
    part = data.load("toy:1.0.0", "train[2:4]", str(tmp_path))
    np.testing.assert_array_equal(part.images, images[2:4])
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(data.load("toy", "train")) == 6


def test_tfds_set_is_read_in_its_newest_prepared_version(tmp_path):
    for size, version in ((3, "2.9.0"), (4, "2.10.0"), (5, "1.0.0")):
        write_tfds(tmp_path, [noise(size, size)] * 2, [0, 1], version=version)
    assert data.load("toy", "train", str(tmp_path)).image_shape == (4, 4, 3)


def test_tfds_images_of_unequal_size_need_an_image_size(tmp_path):
    write_tfds(tmp_path, [noise(4, 4), noise(5, 6)], [0, 1])
    with pytest.raises(InputError, match=r"toy train example 0 is 4x4, toy train example 1 is 6x5.*image_size"):
        data.load("toy", "train", str(tmp_path))
    assert data.load("toy", "train", str(tmp_path), image_size=4).image_shape == (4, 4, 3)


def prepared(path, **kwargs):
    return write_tfds(path, [noise()] * 2, [0, 1], **kwargs)


def cut_short(path):
    records = next(prepared(path).glob("*array_record*"))
    records.write_bytes(records.read_bytes()[:50_000])


def without_records(path):
    next(prepared(path).glob("*array_record*")).unlink()


def as_tfrecord(path):
    prepared(path, file_format="tfrecord")


def without_label(path):
    import tensorflow_datasets as tfds

    prepared(path, features={"image": tfds.features.Image(), "caption": tfds.features.Text()})


def unlabelled(path):
    write_tfds(path, [noise()] * 2, [-1, -1])


def label_beyond_the_classes(path):
    write_tfds(path, [noise()] * 2, [0, 2])


@pytest.mark.parametrize(
    "make, split, message",
    [
        (label_beyond_the_classes, "train", "toy train example 1 has the label 2: expected one of 2 classes, from 0"),
        (prepared, "train[:0]", r"train\[:0\] holds no image"),
        (prepared, "train[", r"no split 'train\['"),
        (prepared, "valid", "no split 'valid': expected train or a part"),
        (cut_short, "train", "cannot read .*toy/1.0.0.*again"),
        (without_records, "train", "cannot read .*toy/1.0.0.*again"),
        (as_tfrecord, "train", "tfrecord files, expected array_record.*tfds build toy --file_format=array_record"),
        (without_label, "train", r"not an image classification set.*got caption \(Text\), image \(Image\)"),
        (unlabelled, "train", "toy train has no labels"),
    ],
)
def test_a_bad_tfds_set_ends_with_one_line(tmp_path, make, split, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        data.load("toy", split, str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "feature",
    [
        {"pythonClassName": "evil.Feature"},
        {"python_class_name": "evil.Feature"},
        {"type": "evil.Feature", "content": {}},
        {
            "type": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "content": '{"python_class_name": "evil.Feature"}',
        },
        {"pythonClassName": "tensorflow_datasets.core.features.video_feature.Video"},
    ],
)
def test_a_description_of_features_imports_no_module(tmp_path, monkeypatch, feature):
    (tmp_path / "evil.py").write_text("open('imported', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = prepared(tmp_path) / "features.json"
    description = json.loads(file.read_text())
    description["featuresDict"]["features"]["more"] = feature
    for content in description, feature:
        file.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"features.json describes '(evil.Feature|.*Video)': expected a set of images and"):
            data.load("toy", "train", str(tmp_path))
    assert not (tmp_path / "imported").exists()


def test_an_unknown_data_set_is_answered_with_close_names_and_the_other_ways(tmp_path):
    with pytest.raises(InputError, match=r"unknown data set 'cifar_10' \(did you mean cifar10.*tfds.*folder:PATH"):
        data.load("cifar_10", "train", str(tmp_path))
    with pytest.raises(InputError, match="unknown data set 'zzzz': expected digits, mnist"):
        data.load("zzzz", "train", str(tmp_path))
    with pytest.raises(InputError, match="unknown data set ''"):
        data.load("", "train", str(tmp_path))


def test_an_absent_data_set_is_answered_with_how_to_prepare_it(tmp_path):
    command = f"tfds build mnist --file_format=array_record --data_dir={tmp_path}"
    with pytest.raises(InputError, match=f"mnist is not in data_dir {tmp_path}: .*{command}.*pip install tensorflow"):
        data.load("mnist", "train", str(tmp_path))
    with pytest.raises(InputError, match=f"data_dir {tmp_path / 'nowhere'}, which does not exist"):
        data.load("mnist", "train", str(tmp_path / "nowhere"))


def test_an_unknown_split_of_digits_and_a_negative_size_are_refused():
    with pytest.raises(InputError, match="expected split train or test, got 'validation'"):
        data.load("digits", "validation")
    with pytest.raises(InputError, match="image_size must be 0 .*got -1"):
        data.load("digits", "train", image_size=-1)


def test_import_is_light_and_a_load_prints_nothing(tmp_path):
    write_tfds(tmp_path, [noise()] * 2, [0, 1])
    script = (
        "import sys; from dsrna_jax import data; data.load\n"
        "heavy = {'tensorflow_datasets', 'tensorflow', 'sklearn', 'PIL', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"data.load('toy', 'train', {str(tmp_path)!r}); data.load('digits', 'test')\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif("DSRNA_DATA_DIR" not in os.environ, reason="set DSRNA_DATA_DIR to a folder with MNIST and CIFAR-10")
@pytest.mark.parametrize("name, shape, mean", [("mnist", (10000, 28, 28, 1), 0.1325), ("cifar10", (10000, 32, 32, 3), 0.4765)])
def test_real_data_has_the_published_size_and_mean(name, shape, mean):
    read = data.load(name, "test", os.environ["DSRNA_DATA_DIR"])
    assert read.images.shape == shape and read.classes == 10
    assert abs(read.images.mean() / 255 - mean) < 1e-3


# Sources


def test_a_new_source_is_one_function_in_one_list(tmp_path, monkeypatch):
    """It reads what it knows, and leaves all other names to the others."""

    def stripes(name, data_dir):
        return read if name == "stripes" else None

    def read(split, image_size):
        side = image_size or 4
        images = np.stack([np.tile([[0, 255]], (side, side // 2)), np.tile([[0], [255]], (side // 2, side))])
        return data.Dataset("stripes", images[..., None].astype(np.uint8), np.array([0, 1], np.int32), ("upright", "level"))

    monkeypatch.setattr(sources, "SOURCES", [*sources.SOURCES, stripes])
    loaded = data.load("stripes", "train", image_size=6)
    assert loaded.image_shape == (6, 6, 1) and loaded.classes == 2 and len(loaded) == 2
    assert len(data.load("digits", "test")) == 360
    with pytest.raises(InputError, match="unknown data set 'stripe'"):
        data.load("stripe", "train", str(tmp_path))


# Halves and batches


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 5))
def test_search_halves_partition_train_and_halve_every_class(labels, seed):
    labels = np.array(labels, np.int32)
    search_train, search_val = data.search_halves(labels, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([search_train, search_val])), np.arange(len(labels)))
    assert 0 <= len(search_train) - len(search_val) <= 1
    difference = np.bincount(labels[search_train], minlength=5) - np.bincount(labels[search_val], minlength=5)
    assert np.abs(difference).max() <= 1
    np.testing.assert_array_equal(search_train, data.search_halves(labels, seed)[0])


def test_search_halves_depend_on_the_seed():
    labels = np.zeros(100, np.int32)
    assert set(data.search_halves(labels, 0)[0]) != set(data.search_halves(labels, 1)[0])


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_an_epoch_of_batches_meets_no_example_twice_and_drops_only_the_rest(examples, draw):
    batch_size = draw.draw(st.integers(1, examples))
    epoch = draw.draw(st.integers(0, 3))
    steps = data.batches_per_epoch(examples, batch_size)
    batches = [data.batch_indices(epoch * steps + i, batch_size, examples, 0, "search_train") for i in range(steps)]
    met = np.concatenate(batches)
    assert all(batch.shape == (batch_size,) and batch.dtype == np.int32 for batch in batches)
    assert len(set(met.tolist())) == len(met) == examples - examples % batch_size
    assert met.min() >= 0 and met.max() < examples


def test_batches_differ_between_epochs_streams_and_seeds():
    base = (10, 100, 0, "search_train")
    batch = data.batch_indices(3, *base)
    for other in (
        data.batch_indices(3 + 10, *base),
        data.batch_indices(4, *base),
        data.batch_indices(3, 10, 100, 1, "search_train"),
        data.batch_indices(3, 10, 100, 0, "search_val"),
        data.batch_indices(3, 10, 100, 0, 7),
    ):
        assert not np.array_equal(batch, other)


def test_batches_depend_on_the_arguments_only_not_on_the_process_or_on_calls_before():
    script = "from dsrna_jax import data; print(data.batch_indices(25, 5, 23, 4, 'search_val').tolist())"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    for step in (0, 31, 25):
        batch = data.batch_indices(step, 5, 23, 4, "search_val")
    assert done.stdout == f"{batch.tolist()}\n"


def test_a_batch_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        data.batch_indices(0, 2, 4, 0, 0)[0] = 1


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_larger_than_the_examples_or_empty_is_refused(batch_size):
    with pytest.raises(InputError, match=f"between 1 and the number of examples, 10, got {batch_size}"):
        data.batch_indices(0, batch_size, 10, 0, "search_val")
