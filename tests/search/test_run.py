"""A search ends the same however often it is stopped, and what it leaves behind is enough to go on or to evaluate."""

import dataclasses
import errno
import io
import os
import signal
import threading
from concurrent.futures import Future

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from smoke_run import SMOKE, assert_same_end, at_step, go_on

from dsrna_jax import genotypes
from dsrna_jax.data import load, statistics
from dsrna_jax.data.batches import RepeatedTail
from dsrna_jax.errors import InputError
from dsrna_jax.networks import spaces
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval
from dsrna_jax.runtime.feeds import MemoryFeed
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.runtime.streams import step_key
from dsrna_jax.search import mixing
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.loop import SearchLoop
from dsrna_jax.search.run import run
from dsrna_jax.search.setup import search_setup


def test_one_row_an_epoch_and_no_clock_in_it(smoke_run):
    rows = records.rows(smoke_run[0] / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10), (3, 15)]
    assert all(np.isfinite([row["train_loss"], row["val_loss"], row["weight_gradient"]]).all() for row in rows)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.075, 0.025])
    assert [row["robustness"] is None for row in rows] == [True, False, False]
    assert all(row["gamma_times_robustness"] == SMOKE.gamma * row["robustness"] < 0 for row in rows[1:])


def test_alphas_rest_in_warm_up_and_move_after(smoke_run):
    rows = records.rows(smoke_run[0] / "alphas.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["alphas"] == rows[1]["alphas"]
    for name, before in rows[1]["alphas"].items():
        assert np.any(np.array(before) != rows[2]["alphas"][name]), name


def test_run_folder_holds_the_last_genotype_and_pictures(smoke_run):
    path, said = smoke_run
    found = genotypes.load(path / "genotype.json")
    assert found == genotypes.load(path / "genotypes" / "epoch_003.json")
    last = records.rows(path / "alphas.jsonl")[-1]["alphas"]
    assert found == genotypes.derive(mixing.likely_logits(last, kept=SMOKE.kept))
    assert all((path / name).read_bytes()[:4] == b"\x89PNG" for name in ("cells.png", "alphas.png", "curves.png"))
    assert "epoch 3/3  100 %" in said and "skips" in said.splitlines()[-1]


def test_checkpoint_is_enough_to_evaluate(smoke_run):
    """The supernet, built from the metadata alone, has the recorded accuracy on search_val."""
    restored = restore_for_eval(smoke_run[0])
    config, data = SearchConfig(**restored.metadata["config"]), restored.metadata["data"]
    sizes = {"cells": config.cells, "channels": config.channels, "classes": len(data["class_names"])}
    normalisation = {"mean": tuple(data["mean"]), "std": tuple(data["std"])}
    supernet = spaces.supernet(config.space, nodes=config.nodes, kept=config.kept, **sizes, **normalisation)
    images = load("digits", "train")
    half = search_setup(config).parts["search_val"]
    variables = {"params": restored.variables["weights"], "batch_stats": restored.variables["batch_stats"]}
    alphas = restored.variables["alphas"]
    shares = spaces.shares(mixing.likely_logits(alphas, kept=config.kept))
    mixtures = spaces.mixtures(alphas, config.nodes, config.primitives, shares, config.kept)
    logits = jax.jit(supernet.apply)(variables, jnp.float32(images.images[half]) / 255, mixtures)
    accuracy = np.mean(np.argmax(logits, axis=1) == images.labels[half])
    recorded = records.rows(smoke_run[0] / "metrics.jsonl")[-1]["val_accuracy"]
    assert accuracy == pytest.approx(recorded, abs=2 / len(half))
    assert genotypes.from_json(restored.metadata["genotype"]) == genotypes.load(smoke_run[0] / "genotype.json")


@pytest.mark.parametrize(
    ("number", "step", "saved"),
    [(signal.SIGTERM, 7, 8), pytest.param(signal.SIGINT, 9, 10, marks=pytest.mark.slow)],
    ids=["mid-epoch", "end of epoch"],
)
def test_stopped_and_resumed_equals_unbroken(monkeypatch, tmp_path, smoke_run, number, step, saved):
    message = f"{number.name} after step {saved} of 15"
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=message) as stop:
        at_step(patch, step, lambda _: os.kill(os.getpid(), number))
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    assert stop.value.number == number
    assert Checkpoints(tmp_path / "checkpoints").steps[-1] == saved
    assert f"resuming after step {saved} of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


@pytest.mark.slow
def test_a_reader_that_goes_away_stops_the_run_after_a_step_that_is_saved(monkeypatch, tmp_path, smoke_run):
    class Pipe(io.StringIO):
        is_open = True

        def write(self, text):
            if not self.is_open:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            return super().write(text)

    pipe = Pipe()
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGPIPE after step 10 of 15"):
        at_step(patch, 6, lambda _: setattr(pipe, "is_open", False))
        run(SMOKE, tmp_path, devices=1, file=pipe)
    assert "resuming after step 10 of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


@pytest.mark.slow
def test_a_request_is_heard_while_a_program_compiles(monkeypatch, tmp_path, smoke_run):
    """The alpha step is needed after the warm-up: what was done until then is saved."""

    def request(loop):
        loop.programs = loop.programs._replace(alpha_step=Future())  # never compiled
        os.kill(os.getpid(), signal.SIGHUP)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGHUP after step 5 of 15"):
        at_step(patch, 4, request)
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGTERM after step 5 of 15"):
        patch.setattr(SearchLoop, "_wait_unless", waited_for(SearchLoop._wait_unless))
        run(SMOKE, tmp_path, resume=True, devices=1, file=io.StringIO())
    assert "resuming after step 5 of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


def waited_for(wait_unless):
    """`RunLoop._wait_unless` that waits in vain for the alpha step, until a signal comes."""

    def waiting(loop, requests):
        loop.programs = loop.programs._replace(alpha_step=Future())
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        wait_unless(loop, requests)

    return waiting


@pytest.mark.slow
def test_the_radius_goes_on_where_it_stopped(monkeypatch, tmp_path):
    """The controller's state is in the checkpoint; its radius is recorded and shown. All epochs certify one batch, drawn once."""
    drawn, evaluation = [], MemoryFeed.evaluation
    config = dataclasses.replace(SMOKE, metric="certified", radius=0.3)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFeed, "evaluation", lambda feed, *part: drawn.append(part) or evaluation(feed, *part))
        run(config, tmp_path / "unbroken", devices=1, file=io.StringIO())
    assert len(drawn) == config.epochs + 1
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 7, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "stopped", devices=1, file=io.StringIO())
    said = io.StringIO()
    run(config, tmp_path / "stopped", resume=True, devices=1, file=said)
    assert_same_end(tmp_path / "stopped", tmp_path / "unbroken")
    rows = records.rows(tmp_path / "unbroken" / "metrics.jsonl")
    assert rows[0]["radius"] is None and rows[2]["radius"] != rows[1]["radius"] > 0
    assert all(row["robustness"] < 0 and np.isfinite(row["alpha_gradient"]) for row in rows[1:])
    assert all(row["radius_certifying_25"] >= row["radius_certifying_50"] >= row["radius_certifying_75"] >= 0 for row in rows)
    assert "radius" in said.getvalue().splitlines()[-1]


def test_a_batch_larger_than_half_the_data_is_refused():
    with pytest.raises(InputError, match="batch_size=800: expected at most 71[0-9], half of the 1437 training images"):
        search_setup(dataclasses.replace(SMOKE, batch_size=800))


def test_an_image_too_small_for_the_reductions_is_refused():
    with pytest.raises(InputError, match="3x3 pixels: expected at least 4x4"):
        search_setup(dataclasses.replace(SMOKE, image_size=3))


def test_channel_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    images[..., 2] = 9
    mean, std = statistics.channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], (images / 255).std(axis=(0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1 / 255


def test_evaluation_counts_every_example_once():
    order = RepeatedTail(np.arange(23), 5)
    batches = [(order(number), order.counts(number)) for number in range(len(order))]
    assert all(len(indices) == len(counts) == 5 for indices, counts in batches)
    np.testing.assert_array_equal(np.concatenate([indices[counts] for indices, counts in batches]), np.arange(23))


def test_streams_and_steps_have_keys_of_their_own():
    keys = [step_key(jax.random.key(0), stream, step) for stream in range(3) for step in range(4)]
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == 12


def test_first_request_is_noted_and_the_second_acts_as_before():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stop_requests() as requests:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (requests, seen) == ([signal.SIGTERM], [])
            os.kill(os.getpid(), signal.SIGTERM)
            assert (requests, seen) == ([signal.SIGTERM], [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)
