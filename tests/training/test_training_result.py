"""The result of a training: counted once on all test images, the same bytes however the training was stopped."""

import dataclasses
import io
import json
import os
import signal

import jax
import numpy as np
import pytest
from finished_runs import TINY
from linear_run import linear_network

from dsrna_jax import data, genotypes
from dsrna_jax.commands import train
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import restore
from dsrna_jax.training import result as training_result
from dsrna_jax.training import run as training_run
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.result import measured_result, saved_result


@pytest.fixture
def linear(tmp_path, monkeypatch):
    """A folder whose checkpoint is that of a linear classifier of the digits."""
    network = linear_network(batch_size=100)
    monkeypatch.setattr(restore, "load", lambda path: network)
    return tmp_path, network


def counted(network):
    test = data.load("digits", "test")
    logits = np.asarray(network.logits_fn(test.images.astype(np.float32) / 255))
    return int((logits.argmax(1) == test.labels).sum()), len(test)


def test_every_test_image_counts_once(linear):
    """Also those of the last batch, which is padded."""
    path, network = linear
    result = measured_result(path, file=io.StringIO())
    correct, images = counted(network)
    assert images % 100 and result["test"].items() >= {"split": "test", "images": images, "correct": correct}.items()
    assert result["test"]["accuracy"] == correct / images and result["checkpoint"]["chosen"] == "last"
    assert json.loads((path / "result.json").read_text()) == result == saved_result(path)


def test_test_images_are_looked_at_once(linear, monkeypatch):
    path, _ = linear
    measured_result(path, file=io.StringIO())
    before = (path / "result.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(training_result, "images_of", None)
        measured_result(path, file=io.StringIO())
    assert (path / "result.json").read_bytes() == before
    monkeypatch.setattr(restore, "load", lambda path: linear_network(-1.0))  # of other weights it is not the result
    assert measured_result(path, file=io.StringIO())["test"]["accuracy"] < 0.1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_measures_leaves_no_result_and_the_next_one_is_the_same(linear, monkeypatch, number):
    path, _ = linear
    whole = measured_result(path, file=io.StringIO())
    (path / "result.json").unlink()
    compiled_logits = training_result.compiled_logits

    def stopping(*arguments):
        os.kill(os.getpid(), number)
        return compiled_logits(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="training is finished and saved"):
        patch.setattr(training_result, "compiled_logits", stopping)
        measured_result(path, file=io.StringIO())
    assert saved_result(path) is None
    assert measured_result(path, file=io.StringIO()) == whole


def test_without_labelled_test_images_the_validation_split_counts_and_without_any_nothing_fails(linear, monkeypatch):
    path, _ = linear
    read = {"validation": data.load("digits", "test")}

    def images_of(config, split):
        if split not in read:
            raise InputError(f"{config.dataset} has no split {split!r}")
        return read[split]

    monkeypatch.setattr(training_result, "images_of", images_of)
    assert measured_result(path, file=io.StringIO())["test"]["split"] == "validation"
    (path / "result.json").unlink()
    read["validation"] = dataclasses.replace(read["validation"], class_names=tuple("abcdefghij"))
    result = measured_result(path, file=io.StringIO())
    assert result["test"] is None and result["why"] == "digits has no split 'test'" and saved_result(path) == result
    read["test"] = data.load("digits", "test")  # it was missing, and is there now
    assert measured_result(path, file=io.StringIO())["test"]["split"] == "test"


@pytest.mark.parametrize("change", [{"correct": 400}, {"accuracy": 0.5}, {"images": None}, {"split": "train"}])
def test_a_damaged_result_is_refused(linear, change):
    path, _ = linear
    result = measured_result(path, file=io.StringIO())
    (path / "result.json").write_text(json.dumps(result | {"test": result["test"] | change}))
    with pytest.raises(InputError, match=r"result.json.*; delete this result, and resume the training to measure it again"):
        saved_result(path)


@pytest.mark.slow
def test_a_training_ends_with_its_result_also_when_it_was_stopped_before(tmp_path, monkeypatch, capsys):
    """Killed during the test images; resuming measures them, and says so."""
    genotypes.save(TINY, tmp_path / "tiny.json")
    arguments = [f"--genotype={tmp_path / 'tiny.json'}", "--cells=3", "--channels=4", "--epochs=1", "--batch_size=256",
                 "--auxiliary_weight=0", f"--run_dir={tmp_path / 'run'}", "--devices=1"]  # fmt: skip

    def killed(*_, **__):
        raise Stopped(15, "stopped")

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="--resume"):
        patch.setattr(training_run, "measured_result", killed)
        train.main(["train", *arguments])
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert not (tmp_path / "run" / "result.json").exists()
    capsys.readouterr()
    train.main(["train", *arguments, "--resume"])
    result, network = saved_result(tmp_path / "run"), restore.load(tmp_path / "run")
    said = capsys.readouterr().out
    assert f"accuracy of the best weights on all {result['test']['images']} test images: {result['test']['accuracy']:.2%}" in said
    assert "accuracy on 139 held-out images:" in said
    assert result["checkpoint"] == {"step": network.step, "digest": network.digest, "chosen": "best"}
    assert result["test"]["correct"] == counted(network._replace(logits_fn=jax.jit(network.logits_fn)))[0]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == metrics
    assert TrainingConfig(**network.metadata["config"]) == network.config


def test_the_report_names_the_attack_behind_robust_accuracy(tmp_path):
    row = {"epoch": 2, "val_accuracy": 0.9, "val_robust_accuracy": 0.4}
    result = {"test": None, "why": "digits has no split 'test'", "checkpoint": {"chosen": "best"}}
    for config, attack in (
        (TrainingConfig(adversarial="pgd"), "PGD-10 (linf 8/255)"),
        (TrainingConfig(adversarial="pgd", norm="l2", radius=0.5, val_attack_steps=3), "PGD-3 (l2 0.5)"),
    ):
        said = train.COMMAND.report(training_run.Trained(row, row, 2, result, 139, config), tmp_path, None)
        assert f"best (epoch 2): 90.0% clean, 40.0% under {attack}" in said
        assert "no accuracy on test images: digits has no split 'test'" in said
