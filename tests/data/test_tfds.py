"""Prepared tfds sets read back exactly; a bad one ends with one line."""

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from noise_images import noise
from prepared_set import write_tfds

from dsrna_jax import data
from dsrna_jax.data import tfds
from dsrna_jax.data.sources import pictures
from dsrna_jax.errors import InputError


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


def test_threads_that_read_records_leave_standard_error_in_its_place(tmp_path):
    """The line of an error goes there."""
    prepared(tmp_path)
    found, before = pictures("toy", "train", str(tmp_path)), sys.stderr
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: found[number % 2], range(800)))
    assert sys.stderr is before


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


def test_a_file_that_is_damaged_after_it_was_opened_is_named_or_read_whole(tmp_path):
    """It is cut at, or changed from, any place on: each record is that of the whole file, or an error of one line."""
    images = [noise(60, 60) for _ in range(8)]
    (file,) = write_tfds(tmp_path, images, [0, 1] * 4).glob("*array_record*")
    good, found, named = file.read_bytes(), pictures("toy", "train", str(tmp_path)), 0
    expected = [(picture.file.getvalue(), picture.label) for picture in found]
    for place in range(100, 90_000, 4_400):
        changed = good[:place] + bytes(byte ^ 0x55 for byte in good[place : place + 40]) + good[place + 40 :]
        for damaged in good[:place], changed:
            opened = pickle.loads(pickle.dumps(found))
            assert opened[0].label == 0
            file.write_bytes(damaged)
            for index in range(1, 8):
                try:
                    read = opened[index]
                except InputError as error:
                    named += str(error).startswith(f"cannot read {file}: ") and "\n" not in str(error)
                else:
                    assert (read.file.getvalue(), read.label) == expected[index]
            file.write_bytes(good)
            assert (opened[7].file.getvalue(), opened[7].label) == expected[7]
    assert named > 40


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
