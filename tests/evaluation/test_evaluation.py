"""Evaluation under attack: rows equal attacks run by themselves, completed batches are not repeated, radii share programs."""

import dataclasses
import functools
import importlib
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_network import IMAGES, LABELS, WEIGHTS, logits_fn, network

from dsrna_jax import attacks
from dsrna_jax.attacks import series
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import budgets
from dsrna_jax.evaluation.attack.completed import CompletedBatches
from dsrna_jax.evaluation.attack.config import TIERS
from dsrna_jax.evaluation.attack.evaluate import NoProgress, evaluate, work
from dsrna_jax.evaluation.folder import completed_rows, evaluation_folder
from dsrna_jax.evaluation.images import EvaluationImages
from dsrna_jax.evaluation.setup import EvaluationSetup
from dsrna_jax.runtime import machine, sharding
from dsrna_jax.runtime.signals import Stopped

images, labels = IMAGES[:20], LABELS[:20]
CONFIG = dataclasses.replace(TIERS["smoke"], radius=0.07, cw_radius=0.4, batch_size=8, probe_examples=10)
NETWORK = Partial(network, WEIGHTS)


@functools.cache
def whole():
    """An evaluation that was never stopped, and its records."""
    records = []
    return evaluate(NETWORK, images, labels, CONFIG, completed=CompletedBatches((), records.append)), records


def rows():
    return {outcome.row.name: outcome for outcome in whole()[0].table}


def test_rows_equal_each_attack_run_by_itself():
    clean = np.asarray(jax.jit(logits_fn)(images)).argmax(1) == labels
    np.testing.assert_array_equal(whole()[0].clean, clean)
    for name, radius in (("FGSM 0.0175", 0.0175), ("FGSM 0.07", 0.07)):
        fooled = np.asarray(jax.jit(functools.partial(attacks.fgsm, logits_fn))(images, labels, radius=radius).success)
        np.testing.assert_array_equal(rows()[name].robust, clean & ~fooled)
    stage = budgets.cw_row(0.4, **budgets.SMOKE_CW).stages[0]._replace(name="")
    keys = attacks.example_keys(jax.random.key(0), 8)  # C&W draws nothing
    options = {"radius": np.float32(np.inf), "stage": stage, "norm": "l2"}
    result = series.stage_result(NETWORK, images[:8], labels[:8], keys, np.int32(0), {}, **options)
    row = rows()["C&W-l2"]
    expected = np.where(clean[:8], np.where(result.success, result.distance, np.inf), 0)
    np.testing.assert_allclose(row.distance[:8], expected, rtol=1e-3)
    np.testing.assert_array_equal(row.robust, clean & (row.distance > 0.4))
    assert (row.distance[~clean] == 0).all() and 0 < row.robust.mean() < clean.mean()


def test_stronger_attacks_leave_fewer_robust_examples():
    evaluation, table = whole()[0], rows()
    chain = [evaluation.clean, *(table[name].robust for name in ("FGSM 0.0175", "FGSM 0.07", "PGD-10", "PGD-20"))]
    assert np.all(np.diff([robust.mean() for robust in chain]) <= 0)
    assert (table["PGD-20"].robust <= table["PGD-10"].robust).all()  # the same steps and ten more
    last = table["APGD-CE+Square"]
    assert list(last.after) == ["apgd-ce", "square"] and last.after["apgd-ce"] >= last.after["square"] == last.robust.mean()
    members = [table[name].robust for name in ("FGSM 0.07", "PGD-10", "PGD-20", "APGD-CE+Square")]
    np.testing.assert_array_equal(evaluation.worst, np.logical_and.reduce(members))
    assert sum(outcome.broken + outcome.unconfirmed for outcome in table.values()) == 0


def test_accuracy_falls_along_the_curve_and_agrees_with_the_table():
    evaluation = whole()[0]
    curve = [outcome for outcome in evaluation.curve if outcome.row.name == "PGD-20"]
    assert np.all(np.diff([outcome.row.radius for outcome in curve]) > 0)
    assert np.all(np.diff([outcome.robust.mean() for outcome in curve]) <= 0) and curve[-1].robust.mean() == 0
    (same,) = (outcome for outcome in curve if outcome.row.radius == CONFIG.size)
    np.testing.assert_array_equal(same.robust, rows()["PGD-20"].robust[:10])


def test_another_radius_compiles_nothing():
    whole()
    programs = series.stage_result._cache_size()
    config = dataclasses.replace(CONFIG, radius=0.03, cw_radius=0.2, restarts=2, seed=1)
    other = evaluate(NETWORK, images[:8], labels[:8], config)
    assert series.stage_result._cache_size() == programs
    assert other.worst.mean() > whole()[0].worst[:8].mean()


@pytest.mark.parametrize("kept", [*(pytest.param(kept, marks=pytest.mark.slow) for kept in (1, 7)), -2])
def test_completed_batches_are_not_run_again(kept):
    evaluation, records = whole()
    again = []
    resumed = evaluate(NETWORK, images, labels, CONFIG, completed=CompletedBatches(records[:kept], again.append))
    assert [r["row"] for r in again] == [r["row"] for r in records[kept:]]
    for one, other in zip([*resumed.table, *resumed.curve], [*evaluation.table, *evaluation.curve], strict=True):
        np.testing.assert_array_equal(one.robust, other.robust)
        np.testing.assert_array_equal(one.distance, other.distance)
        assert one.after == other.after
    assert resumed.checks == evaluation.checks


def test_a_request_to_stop_ends_the_evaluation_after_a_batch():
    records = []
    with pytest.raises(Stopped, match="stopped by SIGTERM; every batch so far is kept"):
        evaluate(NETWORK, images, labels, CONFIG, completed=CompletedBatches((), records.append), requests=[15])
    assert len(records) == 1


def test_misclassified_images_are_not_attacked():
    wrong = (np.asarray(jax.jit(logits_fn)(images)).argmax(1) + 1) % 10
    evaluation = evaluate(NETWORK, images[:4], wrong[:4], CONFIG)
    assert not evaluation.clean.any() and not evaluation.worst.any()
    assert not any(outcome.robust.any() for outcome in evaluation.table)


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("images", "labels", "function", "message"),
    [
        (255 * images, labels, network, "images must be in [0, 1], got values from 0 to 255: divide bytes by 255"),
        (images - 0.5, labels, network, "images must be in [0, 1], got values from -0.5 to 0.5"),
        (np.where(images > 0.5, np.nan, images), labels, network, "images must be in [0, 1]"),
        (np.uint8(255 * images), labels, network, "images must be floating point"),
        (images[:0], labels[:0], network, "no images to attack"),
        (images, labels[:3], network, "one for each of 20 images"),
        (images, labels + 1, network, "labels go from 1 to 10, but the network has 10 classes: expected 0 to 9"),
        (
            images,
            labels,
            lambda w, images: network(w, images - images.mean(0)[None] + 0.3),
            "expected a network in evaluation mode",
        ),
        (images, labels, lambda w, images: network(w, images) / 0.0, "logits are not finite"),
        (  # only in the second batch
            np.concatenate([images, 0 * images[:1]]),
            LABELS[:21],
            lambda w, images: jnp.where(images.sum((1, 2, 3))[:, None] > 0, network(w, images), jnp.nan),
            "logits are not finite for 1 of 21 images, first for image 20",
        ),
    ],
    ids=range(10),
)
def test_bad_input_says_what_was_expected(images, labels, function, message):
    with pytest.raises(InputError) as error:
        evaluate(Partial(function, WEIGHTS), images, labels, CONFIG)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_surrogate_has_the_classes_of_the_network():
    with pytest.raises(InputError, match="the surrogate has 9 classes: expected 10"):
        evaluate(NETWORK, images, labels, CONFIG, surrogate=lambda x: logits_fn(x)[:, :9])


CORNERS = """
'''The nearest corner of the ball along the gradient's signs, halfway.'''
import jax
from dsrna_jax.attacks import ball, losses
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.result import climb, is_fooled, result

@on_checked_inputs
def corners(logits_fn, images, labels, key=None, *, radius, norm="linf", steps=1):
    gradient = climb(logits_fn, losses.margin_loss, images, labels)[2]
    points = ball.project(images + radius * ball.ascent(gradient, norm), images, radius, norm)
    logits = logits_fn(points)
    return result(images, points, is_fooled(logits, labels), losses.margin_loss(logits, labels), steps, norm)
"""


def test_an_attack_is_added_by_one_file_and_its_name(tmp_path, monkeypatch):
    (tmp_path / "corners.py").write_text(CORNERS)
    monkeypatch.syspath_prepend(tmp_path)
    attack = importlib.import_module("corners").corners
    monkeypatch.setitem(attacks.ATTACKS, "corners", attack)
    config = dataclasses.replace(CONFIG, attacks="corners")
    again = []
    evaluation = evaluate(NETWORK, images, labels, config, completed=CompletedBatches(whole()[1], again.append))
    assert {record["row"] for record in again} == {"corners linf 0.07"}
    fooled = np.asarray(jax.jit(functools.partial(attack, logits_fn))(images, labels, radius=0.07).success)
    assert 0 < fooled.mean() < 1
    np.testing.assert_array_equal(evaluation.table[-1].robust, evaluation.clean & ~fooled)
    np.testing.assert_array_equal(evaluation.worst, whole()[0].worst & ~fooled)


def test_settings_of_an_earlier_version_are_resumed(tmp_path):
    """The settings are as version 887be91 wrote them, which knew no further attacks."""
    settings = {
        "tier": "smoke", "norm": "linf", "radius": 0.0, "cw_radius": 0.5, "restarts": 1, "examples": 16, "probe_examples": 64,
        "batch_size": 64, "split": "test", "surrogate": "", "data_dir": None, "seed": 0, "images": 16, "checkpoint step": 10,
        "checkpoint digest": "65450296adf71032",
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    record = {"row": "FGSM 2/255 linf 0.00784313725", "stage": "fgsm", "run": 0, "batch": 0, "fell": [6], "broken": 0}
    (tmp_path / "batches.jsonl").write_text(json.dumps(record) + "\n")
    config, identity = dataclasses.replace(TIERS["smoke"], examples=16), {"step": 10, "digest": "65450296adf71032"}
    mesh = sharding.mesh(1)
    assert completed_rows(evaluation_folder(tmp_path, config, identity, 16, mesh, resume=True)) == [record]
    with pytest.raises(InputError, match="attacks: '' -> 'ddn'"):
        evaluation_folder(tmp_path, dataclasses.replace(config, attacks="ddn"), identity, 16, mesh, resume=True)


def test_batches_of_another_evaluation_are_not_taken_over(tmp_path, monkeypatch, capsys):
    config, mesh = dataclasses.replace(TIERS["smoke"], examples=16), sharding.mesh(1)
    own, other = tmp_path / "own", tmp_path / "other"
    for folder, digest in ((own, "0a"), (other, "0b")):
        evaluation_folder(folder, config, {"step": 10, "digest": digest}, 16, mesh, resume=False).write({"row": digest})
    resumed = evaluation_folder(own, config, {"step": 10, "digest": "0a"}, 16, mesh, resume=True)
    assert [row["row"] for row in completed_rows(resumed)] == ["0a"] and capsys.readouterr().err == ""
    (own / "batches.jsonl").write_bytes((own / "batches.jsonl").read_bytes() + (other / "batches.jsonl").read_bytes())
    with pytest.raises(InputError, match="line 2 of .*batches.jsonl is of an evaluation with other settings"):
        evaluation_folder(own, config, {"step": 10, "digest": "0a"}, 16, mesh, resume=True)
    (own / "settings.json").unlink()
    with pytest.raises(InputError, match="without its settings.json"):
        evaluation_folder(own, config, {"step": 10, "digest": "0a"}, 16, mesh, resume=False)
    monkeypatch.setattr(machine, "cores", lambda: 1000)
    evaluation_folder(other, config, {"step": 10, "digest": "0b"}, 16, mesh, resume=True)
    assert "1000 now" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoints"])
def test_the_folder_of_a_run_does_not_become_that_of_an_evaluation(tmp_path, name):
    arguments = dataclasses.replace(TIERS["smoke"], examples=16), {"step": 10, "digest": "0a"}, 16, sharding.mesh(1)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"holds {name} of a search or training, .* give another --out"):
        evaluation_folder(tmp_path, *arguments, resume=False)
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    evaluation_folder(tmp_path / "attack_smoke_linf", *arguments, resume=False)


def test_a_reader_that_goes_away_ends_an_evaluation_after_a_batch_that_is_kept():
    class CutOff(NoProgress):
        is_cut_off = True

    records = []
    with pytest.raises(Stopped, match="SIGPIPE; every batch so far is kept"):
        evaluate(NETWORK, images, labels, CONFIG, completed=CompletedBatches((), records.append), progress=CutOff())
    assert len(records) == 1


def test_progress_never_exceeds_the_work():
    steps = []

    class Progress(NoProgress):
        def update(self, step, **columns):
            steps.append((step, columns["attack"]))

    evaluate(NETWORK, images, labels, CONFIG, completed=CompletedBatches(whole()[1][-1:]), progress=Progress())
    counts = [step for step, _ in steps]
    assert counts == sorted(counts) and counts[-1] <= work(CONFIG, 10, 20)


@pytest.mark.parametrize(
    ("wanted", "count", "devices", "size"), [(10, 24, 1, 10), (10**6, 24, 1, 24), (10, 5, 2, 6), (8, 8, 8, 8)]
)
def test_a_batch_is_no_larger_than_the_images_that_devices_share(wanted, count, devices, size):
    images = EvaluationImages(np.arange(count), np.zeros((count, 8, 8, 1), np.float32), np.zeros(count, int))
    setup = EvaluationSetup("run", None, images, SimpleNamespace(size=devices), "test")
    assert setup.batch_size(wanted) == size
