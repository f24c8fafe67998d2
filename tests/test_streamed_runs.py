"""A streamed training is that in memory; it ends the same however often it is stopped, by a signal or by a damaged image."""

import dataclasses
import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from image_files import write_folder

from dsrna_jax import genotypes
from dsrna_jax.data import decoding
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import records
from dsrna_jax.runtime.feeds import Meter
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig
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
    """The same with random crops."""
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
    trained(cropping, tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "run", unbroken[0])


def test_the_meter_tells_images_a_second_and_the_share_of_waiting():
    times = iter([0, 0, 10, 11, 20, 22, 30, 34])  # the first batch begins the count, the others take 1, 2 and 4 seconds
    meter = Meter(lambda: next(times))
    for _ in range(4):
        with meter.waiting(100):
            pass
    assert meter.columns == {"images/s": "9", "waiting": "21 %"}
    meter.forget()
    assert meter.columns == {}


def test_records_of_a_streamed_training_are_those_of_any(unbroken):
    rows = records.rows(unbroken[0] / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 15] and all(np.isfinite(row["val_loss"]) for row in rows)
