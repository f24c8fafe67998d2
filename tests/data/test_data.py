"""Data sets have the declared shapes, and an unknown or absent one is answered with what to do."""

import os
import subprocess
import sys

import numpy as np
import pytest
from noise_images import census, noise
from prepared_set import write_tfds

from dsrna_jax import data
from dsrna_jax.data import sources
from dsrna_jax.errors import InputError


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
