"""A training ends the same however often it is stopped; load needs a path only."""

import dataclasses
import functools
import io
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import TINY
from linear_run import STATISTICS, linear_network
from smoke_run import at_step as at_step_of
from smoke_run import restore_arrays

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import Checkpoints
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import restore
from dsrna_jax.training import run as training_run
from dsrna_jax.training.setup import training_setup


def test_one_row_an_epoch_and_the_most_robust_is_best(tiny_run):
    path, said, end = tiny_run
    rows = records.rows(path / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 10), (2, 20), (3, 30)]
    assert all(np.isfinite([value for value in row.values()]).all() for row in rows)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.075, 0.025])
    assert all(row["val_robust_accuracy"] <= row["val_accuracy"] for row in rows)
    assert end.last == rows[-1] and end.best in rows and end.epochs == 3
    assert end.best["val_robust_accuracy"] == max(row["val_robust_accuracy"] for row in rows)
    assert Checkpoints(path / "best").steps == [end.best["step"]]
    assert all((path / name).read_bytes()[:4] == b"\x89PNG" for name in ("cells.png", "curves.png"))
    assert "139 held out" in said.getvalue() and "val robust acc" in said.getvalue()


def test_a_trained_network_needs_nothing_but_the_path(tiny, tiny_run):
    """From the folder of the run it is the best one, and has the recorded accuracy on the held-out images."""
    path, _, end = tiny_run
    found = restore.load(path)
    assert found.step == end.best["step"] and found.config == tiny and found.architecture == TINY
    assert found.image_shape == (8, 8, 1) and found.class_names == tuple("0123456789")
    setup = training_setup(tiny)
    part = setup.parts["held_out"]
    logits = jax.jit(found.logits_fn)(jnp.float32(setup.dataset.images[part]) / 255)
    accuracy = np.mean(np.argmax(logits, axis=1) == setup.dataset.labels[part])
    assert accuracy == pytest.approx(end.best["val_accuracy"], abs=1.5 / len(part))
    assert restore.load(path / "checkpoints").step == 30
    alone = jax.jit(found.logits_fn)(jnp.float32(setup.dataset.images[part[:1]]) / 255)
    np.testing.assert_allclose(alone, logits[:1], rtol=1e-4, atol=1e-5)  # images do not see each other
    assert "auxiliary_head" not in found.variables["params"]


def test_a_network_trained_in_bfloat16_is_float32_unless_an_attack_asks(monkeypatch, tiny_run):
    trained_network = restore.trained_network
    monkeypatch.setattr(restore, "trained_network", lambda *facts: trained_network(*facts).clone(dtype="bfloat16"))
    found, images = restore.load(tiny_run[0]), jnp.full((2, 8, 8, 1), 0.5)
    narrow = jax.make_jaxpr(found.logits_in("bfloat16"))(images)
    assert "bf16" in str(narrow) and narrow.out_avals[0].dtype == jnp.float32
    for logits_fn in (found.logits_fn, found.logits_in(None), functools.partial(found.network.apply, found.variables)):
        assert "bf16" not in str(jax.make_jaxpr(logits_fn)(images))


def test_the_parts_of_the_data_do_not_overlap(tiny):
    setup = training_setup(tiny)
    assert sorted([*setup.parts["train"], *setup.parts["held_out"]]) == list(range(len(setup.dataset)))
    shares = np.bincount(setup.dataset.labels[setup.parts["held_out"]]) / np.bincount(setup.dataset.labels)
    assert np.all((shares > 0.08) & (shares <= 0.1))
    drawn = {index for step in range(2 * setup.steps_per_epoch) for index in setup.batch("train", step)}
    assert drawn <= set(setup.parts["train"])


def at_step(monkeypatch, step, action):
    at_step_of(monkeypatch, step, action, training_run.TrainingLoop)


def assert_same_end(path, unbroken):
    for name in ("metrics.jsonl", "genotype.json", "config.json", "result.json"):
        assert (path / name).read_bytes() == (unbroken / name).read_bytes(), name
    for folder in ("checkpoints", "best"):
        ends = [restore_arrays(run, folder) for run in (path, unbroken)]
        assert ends[0].keys() == ends[1].keys()
        for name, array in ends[0].items():
            assert array.tobytes() == ends[1][name].tobytes(), (folder, name)


@pytest.mark.parametrize(
    ("step", "saved"), [(6, 7), pytest.param(9, 10, marks=pytest.mark.slow)], ids=["mid-epoch", "end of epoch"]
)
def test_stopped_and_resumed_equals_unbroken(monkeypatch, tmp_path, tiny, tiny_run, step, saved):
    """Even when the file that named the genotype is gone."""
    file = tmp_path / "other.json"
    genotypes.save(TINY, file)
    config = dataclasses.replace(tiny, genotype=str(file))
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=f"SIGTERM after step {saved} of 30"):
        at_step(patch, step, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        training_run.run(config, tmp_path / "run", devices=1, file=io.StringIO())
    file.unlink()
    said = io.StringIO()
    training_run.run(config, tmp_path / "run", resume=True, devices=1, file=said)
    assert f"resuming after step {saved} of 30" in said.getvalue()
    resolved = json.loads((tmp_path / "run" / "config.json").read_text())
    resolved["config"]["genotype"] = tiny.genotype
    (tmp_path / "run" / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")
    assert_same_end(tmp_path / "run", tiny_run[0])


class Judged(training_run.TrainingLoop):
    """A loop that only judges rows."""

    def __init__(self, config, folder):
        from types import SimpleNamespace

        self.config, self.best, self.is_over, self.step, self.said = config, None, False, 0, []
        self.state = SimpleNamespace(weights={}, batch_stats={}, average={})
        self.setup = SimpleNamespace(resolved={})
        self.folder = SimpleNamespace(best=SimpleNamespace(save=lambda *_: None))
        self.progress = SimpleNamespace(note=self.said.append)

    def see(self, *robust):
        for epoch, value in enumerate(robust, 1):
            self._judge({"epoch": epoch, "val_accuracy": 0.9, "val_robust_accuracy": value, "val_loss": 1.0 - 0.01 * epoch})
        return self


def test_collapsed_robustness_ends_a_training(tiny, tmp_path):
    judged = Judged(tiny, tmp_path).see(0.3, 0.5, 0.35)
    assert not judged.is_over
    judged = judged.see(0.5, 0.1)
    assert judged.is_over and "catastrophic overfitting" in judged.said[0] and "from 50.0% in epoch" in judged.said[0]
    assert not Judged(dataclasses.replace(tiny, collapse=0.0), tmp_path).see(0.5, 0.0).is_over


def test_patience_ends_a_training(tiny, tmp_path):
    patient = dataclasses.replace(tiny, patience=2)
    assert not Judged(patient, tmp_path).see(0.5, 0.4).is_over
    judged = Judged(patient, tmp_path).see(0.5, 0.4, 0.45)
    assert judged.is_over and judged.best["epoch"] == 1
    # Without attacks the clean accuracy decides, and the loss where that is the same.
    assert Judged(patient, tmp_path).see(None, None, None).best["epoch"] == 3


def test_checkpoints_of_other_commands_are_refused_with_what_to_do(tmp_path, tiny_run):
    with pytest.raises(InputError, match="no checkpoint in"):
        restore.load(tmp_path)
    found = restore.load(tiny_run[0])
    state = {"weights": found.variables["params"], "batch_stats": found.variables["batch_stats"]}
    Checkpoints(tmp_path / "search").save(1, state, {"experiment": "search"})
    with pytest.raises(InputError, match="checkpoint of a search, expected that of a training.*--genotype="):
        restore.load(tmp_path / "search")
    other = json.loads(json.dumps(found.metadata))
    other["config"]["channels"] = 6
    Checkpoints(tmp_path / "other").save(1, state, other)
    with pytest.raises(InputError, match="does not hold the network that it describes"):
        restore.load(tmp_path / "other")


def test_two_trainings_of_a_seed_are_one(tiny):
    """The batch of a step depends on nothing but the seed and the step."""
    first, second = training_setup(tiny), training_setup(tiny)
    np.testing.assert_array_equal(first.batch("train", 7), second.batch("train", 7))
    assert not np.array_equal(first.batch("train", 7), training_setup(dataclasses.replace(tiny, seed=1)).batch("train", 7))


def test_networks_that_differ_in_statistics_of_pixels_share_their_programs(tmp_path):
    """Two seeds hold out other images, hence other statistics: these are leaves, which the logits follow."""
    described, key = derived_network(TINY, cells=3, channels=4, classes=10, **STATISTICS), jax.random.key(0)
    image = jax.ShapeDtypeStruct((1, 8, 8, 1), "float32")
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), jax.eval_shape(described.init, key, image))
    metadata = linear_network(cells=3, channels=4, auxiliary_weight=0.0).metadata | {"genotype": genotypes.to_json(TINY)}
    state, loaded = {"weights": variables["params"], "batch_stats": variables["batch_stats"]}, []
    for mean in (0.5, 0.25):
        Checkpoints(tmp_path / f"{mean}").save(7, state, metadata | {"data": metadata["data"] | {"mean": [mean]}})
        loaded.append(restore.load(tmp_path / f"{mean}"))
    first, second = (trained.logits_fn for trained in loaded)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    images, apply = jax.random.uniform(key, (2, 8, 8, 1)), jax.jit(lambda logits_fn, images: logits_fn(images))
    for trained in loaded:
        expected = jax.jit(trained.network.apply)(trained.variables, images)
        np.testing.assert_allclose(apply(trained.logits_fn, images), expected, rtol=1e-5)
    assert apply._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]
    assert not np.allclose(apply(first, images), apply(second, images))
