"""A streamed training is that in memory; it ends the same however often it is stopped, by a signal or by a damaged image."""

import dataclasses
import io
import os
import signal
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from image_files import write_folder

from dsrna_jax import data, genotypes, losses
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.data import decoding, search_halves
from dsrna_jax.data.loading import images_of, taken
from dsrna_jax.data.splits import search_parts
from dsrna_jax.data.stream import stream
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import feeds, records, sharding
from dsrna_jax.runtime.feeds import Meter
from dsrna_jax.runtime.processes import Processes
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search import run as search_run
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.result import saved_result
from dsrna_jax.training.setup import training_setup

CELL = (("sep_conv_3x3", 0), ("skip_connect", 1))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A training on 24 images of all sizes in memory, 4 of which are held out: 3 epochs of 5 steps."""
    root = tmp_path_factory.mktemp("images")
    write_folder(root / "images" / "train", classes=4, per_class=6)
    write_folder(root / "images" / "test", classes=4, per_class=1, seed=1)
    genotypes.save(genotypes.Genotype(CELL, (2,), CELL, (2,)), root / "tiny.json")
    size = {"cells": 3, "channels": 4, "auxiliary_weight": 0.0, "epochs": 3, "batch_size": 4, "held_out": 0.2}
    return TrainingConfig(genotype=str(root / "tiny.json"), dataset=f"folder:{root / 'images'}", image_size=8, **size)


@pytest.fixture(scope="module")
def cropping(config):
    """The configuration with random crops."""
    return dataclasses.replace(config, crop_area=0.3)


@pytest.fixture(scope="module")
def unbroken(cropping, tmp_path_factory):
    """The folder of that training, never interrupted, and what it said."""
    path, said = tmp_path_factory.mktemp("unbroken") / "run", io.StringIO()
    training_run.run(cropping, path, devices=1, file=said)
    return path, said.getvalue()


def trained(config, path, **options):
    said = io.StringIO()
    training_run.run(config, path, devices=1, file=said, **options)
    return said.getvalue()


def assert_same_end(path, other):
    for name in ("metrics.jsonl", "config.json", "result.json"):
        assert (path / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.slow
def test_a_stream_and_memory_train_the_same_network(config, tmp_path):
    """Bit for bit."""
    in_memory = trained(config, tmp_path / "memory")
    streamed = trained(dataclasses.replace(config, loading="stream"), tmp_path / "stream")
    assert "images are held in memory" in in_memory and "images are streamed: loading=stream asks for it" in streamed
    assert (tmp_path / "memory" / "metrics.jsonl").read_bytes() == (tmp_path / "stream" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "memory" / "result.json").read_bytes() == (tmp_path / "stream" / "result.json").read_bytes()


def test_size_decides_unless_a_flag_does(config, cropping, monkeypatch):
    assert not training_setup(config).is_streamed and training_setup(cropping).is_streamed
    monkeypatch.setattr(decoding, "MEMORY_LIMIT", 24 * 8 * 8 * 3 - 1)
    large = training_setup(config)
    assert large.is_streamed and "0.0 GiB are more than the 0 GiB" in large.dataset.why
    assert not training_setup(dataclasses.replace(config, examples=20)).is_streamed
    with pytest.raises(InputError, match="smaller image_size, or use fewer images"):
        training_setup(dataclasses.replace(config, loading="memory"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "needs an image_size"),
        ({"dataset": "digits"}, "digits cannot be streamed, but crop_area=0.3 needs images at their own size"),
        ({"loading": "memory"}, "crop_area=0.3 needs images at their own size: expected loading=stream or auto"),
    ],
)
def test_what_cannot_be_streamed_is_refused_in_one_line(cropping, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        training_setup(dataclasses.replace(cropping, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_stopped_stream_goes_on_as_if_it_had_never_stopped(cropping, unbroken, tmp_path, monkeypatch):
    """In the middle of an epoch, with random crops."""
    take_step = training_run.TrainingLoop.take_step

    def interrupted(loop):
        if loop.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(loop)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGTERM after step 7 of 15"):
        patch.setattr(training_run.TrainingLoop, "take_step", interrupted)
        trained(cropping, tmp_path / "run")
    assert "resuming after step 7 of 15" in trained(cropping, tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", unbroken[0])


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_damaged_image_loses_nothing(cropping, unbroken, tmp_path, monkeypatch, part):
    """The steps before it are saved; once it is mended, the run ends as if it had never been damaged."""
    setup = training_setup(cropping)
    # Of large sets, the images that statistics come from are a few.
    monkeypatch.setattr("dsrna_jax.training.setup.training_statistics", lambda *_: (setup.network.mean, setup.network.std))
    if part == "held_out":
        broken, step = setup.parts[part][0], 5  # which the end of the first epoch needs
    else:
        order = [index for number in range(5) for index in setup.batch("train", number)]
        broken, step = order[9], 2
    file = Path(setup.dataset.pictures[int(broken)].origin)
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:40])
        with pytest.raises(InputError, match=f"cannot read the image {file}.*; step {step} of 15 is saved: resume") as caught:
            trained(cropping, tmp_path / "run")
        assert "\n" not in str(caught.value)
    finally:
        file.write_bytes(whole)
    assert f"resuming after step {step} of 15" in trained(cropping, tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", unbroken[0])


def test_an_image_that_another_process_cannot_read_loses_nothing_either(cropping, tmp_path, monkeypatch):
    class OfTwo(Processes):
        count, left = 2, 3

        def gathered(self, value):
            self.left -= 1
            return [value, "" if self.left else "process 1 of 2 on host: cannot read it"]

    both = OfTwo()
    monkeypatch.setattr("dsrna_jax.runtime.feeds.current", lambda: both)
    with pytest.raises(InputError, match="^process 1 of 2 on host: cannot read it; step 2 of 15 is saved: resume"):
        trained(cropping, tmp_path / "run")


def test_streams_stay_open_for_batches_that_are_asked_for_again_and_again(cropping, monkeypatch):
    """The second pass gives what the first gave, from the same stream, as each child of a sampled search needs it."""
    opened, setup = [], training_setup(cropping)
    monkeypatch.setattr(feeds, "stream", lambda *arguments: opened.append(stream(*arguments)) or opened[-1])
    feed = feeds.feed(setup, sharding.mesh(1))
    drawn = [np.asarray(feed.batch("train", number, cycle=3).images) for number in (0, 1, 2, 0, 1, 2, 0)]
    for number, images in enumerate(drawn):
        np.testing.assert_array_equal(images, drawn[number % 3])
    assert len(opened) == 1 and len({images.tobytes() for images in drawn}) == 3
    passes = [[np.asarray(batch.images) for batch, _ in feed.evaluation("train", again=True)] for _ in range(2)]
    np.testing.assert_array_equal(*passes)
    assert len(opened) == 2
    next(feed.evaluation("held_out"))
    assert len(opened) == 3 and not list(opened.pop())  # closed when one pass is over
    feed.close()
    assert not any(list(each) for each in opened)


def test_the_meter_tells_images_a_second_and_the_share_of_waiting():
    times = iter([0, 0, 10, 11, 20, 22, 30, 34])  # the first batch begins the count, the others take 1, 2 and 4 seconds
    meter = Meter(lambda: next(times))
    assert meter.columns == {}
    for _ in range(4):
        with meter.waiting(100):
            pass
    assert meter.columns == {"images/s": "9", "waiting": "21 %"}


def test_the_meter_goes_on_after_a_pause_which_it_leaves_out():
    times = iter([0, 0, 10, 11, 20, 1020, 1025, 1031])
    meter = Meter(lambda: next(times))
    for _ in range(2):
        with meter.waiting(100):
            pass
    assert meter.columns == {"images/s": "9", "waiting": "9 %"}
    with meter.paused():
        pass
    with meter.waiting(300):
        pass
    assert meter.columns == {"images/s": "13", "waiting": "23 %"}  # 400 in 31 seconds, 7 of them waiting


def test_records_of_a_streamed_training_are_those_of_any(unbroken):
    rows = records.rows(unbroken[0] / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 15] and all(np.isfinite(row["val_loss"]) for row in rows)


# ---- images as ImageNet has them


@pytest.fixture(scope="module")
def small_imagenet(tmp_path_factory):
    """40 classes of JPEGs of all sizes, up to 90 pixels."""
    root = tmp_path_factory.mktemp("imagenet")
    write_folder(root / "train", classes=40, per_class=3, suffix="jpg", sides=(30, 90))
    write_folder(root / "validation", classes=40, per_class=1, suffix="jpg", sides=(30, 90), seed=1)
    return f"folder:{root}"


SMALL = {"image_size": 64, "cells": 3, "channels": 4, "batch_size": 4, "epochs": 1}


@pytest.mark.slow
def test_a_cell_is_searched_on_imagenet_and_trained_on_it_as_published(small_imagenet, tmp_path):
    """But for the size: by the presets, on 64 pixels, with the genotype of a run, as one of CIFAR-10 would be taken."""
    shares = {"train_share": 0.4, "val_share": 0.34, "nodes": 1, "warmup_epochs": 0}
    search = dataclasses.replace(PRESETS["imagenet_pcdarts_search"], dataset=small_imagenet, **SMALL, **shares)
    search_run.run(search, tmp_path / "search", devices=1, file=io.StringIO())
    preset = TRAINING_PRESETS["imagenet_dsrna"]
    changes = {
        "dataset": small_imagenet,
        "genotype": str(tmp_path / "search"),
        "held_out": 0.34,
        "auxiliary_weight": 0.0,
        "workers": 1,
    }
    training_run.run(dataclasses.replace(preset, **SMALL, **changes), tmp_path / "train", devices=1, file=io.StringIO())
    (row,) = records.rows(tmp_path / "train" / "metrics.jsonl")
    assert row["val_accuracy"] <= row["val_top_5_accuracy"] <= 1 and row["step"] == 20
    test = saved_result(tmp_path / "train")["test"]
    assert test["split"] == "validation" and test["images"] == 40 and test["accuracy"] <= test["top_5_accuracy"]


def test_attacks_decode_the_images_that_they_draw_as_training_evaluates_them(small_imagenet):
    config = dataclasses.replace(TRAINING_PRESETS["imagenet"], dataset=small_imagenet, image_size=64)
    streamed, drawn = images_of(config, "validation"), np.array([31, 2, 17])
    images, labels = taken(streamed, drawn)
    whole = data.load(small_imagenet, "validation", image_size=64, center_crop=0.875)
    np.testing.assert_array_equal(images, whole.images[drawn])
    np.testing.assert_array_equal(labels, whole.labels[drawn])


def test_parts_of_a_search_are_disjoint_shares_of_every_class():
    labels = np.repeat(np.arange(3), 200)
    train, val = search_parts(labels, 0.1, 0.025, seed=1)
    assert not set(train) & set(val) and np.bincount(labels[train]).tolist() == [20] * 3
    assert np.bincount(labels[val]).tolist() == [5] * 3
    for ours, halves in zip(search_parts(labels, 0.5, 0.5, 7), search_halves(labels, 7), strict=True):
        np.testing.assert_array_equal(ours, halves)
    with pytest.raises(InputError, match="train_share=0.8 and val_share=0.3 overlap"):
        SearchConfig(train_share=0.8, val_share=0.3)


def test_top_5_counts_the_first_of_equal_logits():
    logits = jnp.array([[5.0, 4, 3, 2, 1, 1, 0], [0, 0, 0, 0, 0, 0, 9]])
    assert losses.in_top_5(logits, jnp.array([4, 6])).tolist() == [True, True]
    assert losses.in_top_5(logits, jnp.array([5, 3])).tolist() == [False, True]
    assert losses.in_top_5(logits, jnp.array([6, 4])).tolist() == [False, False]
