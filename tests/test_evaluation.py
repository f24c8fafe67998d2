"""Rows say what an attack does by itself, series what all do; what was done is not done again; one program serves all radii."""

import dataclasses
import functools
import importlib
import json

import jax
import numpy as np
import pytest
from jax.tree_util import Partial
from small_network import WEIGHTS, X, Y, logits_fn, network

from dsrna_jax import attacks
from dsrna_jax.attacks import ball, series
from dsrna_jax.confidence import wilson
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import budgets
from dsrna_jax.evaluation.attack.completed import CompletedBatches
from dsrna_jax.evaluation.attack.config import NORMS, TIERS, AttackConfig
from dsrna_jax.evaluation.attack.evaluate import NoProgress, evaluate, work
from dsrna_jax.evaluation.folder import completed_rows, evaluation_folder
from dsrna_jax.runtime.signals import Stopped

x, y = X[:40], Y[:40]
CONFIG = dataclasses.replace(TIERS["smoke"], radius=0.07, cw_radius=0.4, batch_size=16, probe_examples=20)
NETWORK = Partial(network, WEIGHTS)


@functools.cache
def whole():
    """An evaluation that was never stopped, and its records."""
    records = []
    return evaluate(NETWORK, x, y, CONFIG, completed=CompletedBatches((), records.append)), records


def rows():
    return {outcome.row.name: outcome for outcome in whole()[0].table}


def test_rows_are_those_of_each_attack_by_itself():
    clean = np.asarray(logits_fn(x)).argmax(1) == y
    np.testing.assert_array_equal(whole()[0].clean, clean)
    for name, radius in (("FGSM 0.0175", 0.0175), ("FGSM 0.07", 0.07)):
        fooled = np.asarray(jax.jit(functools.partial(attacks.fgsm, logits_fn))(x, y, radius=radius).success)
        np.testing.assert_array_equal(rows()[name].robust, clean & ~fooled)
    stage = budgets.cw_row(0.4, **budgets.SMOKE_CW).stages[0]._replace(name="")
    keys = attacks.example_keys(jax.random.key(0), 16)  # C&W draws nothing
    found = series.stage_result(NETWORK, x[:16], y[:16], keys, np.int32(0), {}, radius=np.float32(np.inf), stage=stage, norm="l2")
    row = rows()["C&W-l2"]
    expected = np.where(clean[:16], np.where(found.success, found.distance, np.inf), 0)
    np.testing.assert_allclose(row.distance[:16], expected, rtol=1e-3)
    np.testing.assert_array_equal(row.robust, clean & (row.distance > 0.4))
    assert (row.distance[~clean] == 0).all() and 0 < row.robust.mean() < clean.mean()


def test_stronger_attacks_leave_less():
    found, table = whole()[0], rows()
    chain = [found.clean, *(table[name].robust for name in ("FGSM 0.0175", "FGSM 0.07", "PGD-10", "PGD-20"))]
    assert np.all(np.diff([robust.mean() for robust in chain]) <= 0)
    assert (table["PGD-20"].robust <= table["PGD-10"].robust).all()  # the same steps and ten more
    last = table["APGD-CE+Square"]
    assert list(last.after) == ["apgd-ce", "square"] and last.after["apgd-ce"] >= last.after["square"] == last.robust.mean()
    members = [table[name].robust for name in ("FGSM 0.07", "PGD-10", "PGD-20", "APGD-CE+Square")]
    np.testing.assert_array_equal(found.worst, np.logical_and.reduce(members))
    assert sum(outcome.broken + outcome.unconfirmed for outcome in table.values()) == 0


def test_the_curve_falls_and_agrees_with_the_table():
    found = whole()[0]
    curve = [outcome for outcome in found.curve if outcome.row.name == "PGD-20"]
    assert np.all(np.diff([outcome.row.radius for outcome in curve]) > 0)
    assert np.all(np.diff([outcome.robust.mean() for outcome in curve]) <= 0) and curve[-1].robust.mean() == 0
    (same,) = (outcome for outcome in curve if outcome.row.radius == CONFIG.size)
    np.testing.assert_array_equal(same.robust, rows()["PGD-20"].robust[:20])


def test_another_radius_compiles_nothing():
    whole()
    programs = series.stage_result._cache_size()
    other = evaluate(NETWORK, x[:20], y[:20], dataclasses.replace(CONFIG, radius=0.03, cw_radius=0.2, restarts=2, seed=1))
    assert series.stage_result._cache_size() == programs
    assert other.worst.mean() > whole()[0].worst[:20].mean()


@pytest.mark.parametrize("kept", [1, 7, -2])
def test_what_was_done_is_not_done_again(kept):
    found, records = whole()
    again = []
    resumed = evaluate(NETWORK, x, y, CONFIG, completed=CompletedBatches(records[:kept], again.append))
    assert [r["row"] for r in again] == [r["row"] for r in records[kept:]]
    for one, other in zip([*resumed.table, *resumed.curve], [*found.table, *found.curve], strict=True):
        np.testing.assert_array_equal(one.robust, other.robust)
        np.testing.assert_array_equal(one.distance, other.distance)
        assert one.after == other.after
    assert resumed.checks == found.checks


def test_a_request_to_stop_ends_it_after_a_batch():
    records = []
    with pytest.raises(Stopped, match="stopped by SIGTERM; every batch so far is kept"):
        evaluate(NETWORK, x, y, CONFIG, completed=CompletedBatches((), records.append), requests=[15])
    assert len(records) == 1


def test_an_image_that_nobody_gets_right_costs_nothing():
    wrong = (np.asarray(logits_fn(x)).argmax(1) + 1) % 10
    found = evaluate(NETWORK, x[:4], wrong[:4], CONFIG)
    assert not found.clean.any() and not found.worst.any() and all(outcome.robust.sum() == 0 for outcome in found.table)


@pytest.mark.parametrize(
    ("images", "labels", "function", "message"),
    [
        (255 * x, y, network, "images must be in [0, 1], got values from 0 to 255: divide bytes by 255"),
        (x - 0.5, y, network, "images must be in [0, 1], got values from -0.5 to 0.5"),
        (np.where(x > 0.5, np.nan, x), y, network, "images must be in [0, 1]"),
        (np.uint8(255 * x), y, network, "images must be floating point"),
        (x[:0], y[:0], network, "no images to attack"),
        (x, y[:3], network, "one for each of 40 images"),
        (x, y + 1, network, "labels go from 1 to 10, but the network has 10 classes: expected 0 to 9"),
        (x, y, lambda w, x: network(w, x - x.mean(0) + 0.3), "expected a network in evaluation mode"),
        (x, y, lambda w, x: network(w, x) / 0.0, "logits are not finite"),
    ],
    ids=range(9),
)
def test_bad_input_says_what_was_expected(images, labels, function, message):
    with pytest.raises(InputError) as error:
        evaluate(Partial(function, WEIGHTS), images, labels, CONFIG)
    assert message in str(error.value) and "\n" not in str(error.value)


# ---- the plan


def test_only_all_of_autoattack_is_called_so():
    names = {tier: [row.name for row in budgets.attack_rows(config, 10)] for tier, config in TIERS.items()}
    assert names["smoke"] == ["FGSM 2/255", "FGSM 8/255", "PGD-10", "PGD-20", "C&W-l2", "APGD-CE+Square"]
    assert names["paper"] == [*names["smoke"][:4], "PGD-100", "C&W-l2", "DDN-100", "AutoAttack"]
    assert names["standard"] == ["AutoAttack"]
    row = budgets.attack_rows(TIERS["standard"], 10)[0]
    assert [stage.name for stage in row.stages] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert row.budget == "APGD-CE 100; APGD-T by dlr 100 x 9 targets; FAB-T 100 x 9 targets; Square 5000"
    assert all(row.budget and row.cost for tier in TIERS.values() for row in budgets.attack_rows(tier, 10))


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_have_no_targeted_dlr(classes):
    row = budgets.attack_rows(TIERS["standard"], classes)[0]
    assert row.name == "APGD-CE+APGD-T+FAB-T+Square" and "APGD-T by margin 100 x " in row.budget
    short = budgets.series_row(0.3, "linf", classes, steps=3, queries=5)
    weights = jax.random.normal(jax.random.key(0), (16, classes))
    images = np.asarray(jax.random.uniform(jax.random.key(1), (6, 4, 4, 1)))

    def linear(weights, x):
        return x.reshape(len(x), -1) @ weights

    labels, robust = np.asarray(linear(weights, images).argmax(1)), np.ones(6, bool)
    targeted = [stage for stage in short.stages if stage.name == "apgd-t"]
    settings = {"stages": targeted, "radius": 0.01, "norm": "linf", "batch_size": 6, "robust": robust}
    batches = series.run_series(Partial(linear, weights), images, labels, jax.random.key(2), **settings)
    assert [batch.run for batch in batches] == list(range(classes - 1))


def test_intervals():
    """Against Brown, Cai and DasGupta 2001, and at the ends."""
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4) and wilson(10, 10)[1] == 1
    assert np.ptp(wilson(500, 1000)) == pytest.approx(2 * 0.031, abs=1e-3)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"radius": 8.0}, "radius=8.0: expected at most 1"),
        ({"norm": "l1"}, "norm='l1': expected one of linf, l2"),
        ({"restarts": 0}, "restarts=0: expected at least 1"),
        ({"examples": -1}, "examples=-1: expected zero or more"),
    ],
)
def test_bad_settings(fields, message):
    with pytest.raises(InputError, match=message):
        AttackConfig(**fields)


CORNERS = """
'''The nearest corner of the ball along the gradient's signs, halfway.'''
import jax
from dsrna_jax.attacks import ball, losses
from dsrna_jax.attacks.result import checked, climb, is_fooled, result

def corners(logits_fn, images, labels, key=None, *, radius, norm="linf", steps=1):
    images, labels = checked(images, labels)
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
    found = evaluate(NETWORK, x, y, config, completed=CompletedBatches(whole()[1], again.append))
    assert {record["row"] for record in again} == {"corners linf 0.07"}
    fooled = np.asarray(attack(logits_fn, x, y, radius=0.07).success)
    assert 0 < fooled.mean() < 1
    np.testing.assert_array_equal(found.table[-1].robust, found.clean & ~fooled)
    np.testing.assert_array_equal(found.worst, whole()[0].worst & ~fooled)


@pytest.mark.parametrize(
    ("names", "message"), [("fgms", "unknown attack 'fgms': expected one of fgsm"), ("autoattack", "attacks that can be jitted")]
)
def test_further_attacks_that_there_are_not(names, message):
    with pytest.raises(InputError, match=message):
        budgets.attack_rows(dataclasses.replace(CONFIG, attacks=names), 10)


def test_further_attacks_keep_to_a_norm_that_they_know():
    rows = budgets.attack_rows(dataclasses.replace(CONFIG, attacks="ddn,square"), 10)[-2:]
    assert [(row.name, row.norm, row.radius, row.is_nearest) for row in rows] == [
        ("ddn", "l2", 0.4, True),
        ("square", "linf", 0.07, False),
    ]


def test_norms_of_the_configuration_are_those_of_attacks():
    assert NORMS == ball.NORMS


def test_settings_of_an_earlier_version_are_resumed(tmp_path):
    """As version 887be91 wrote them, which knew no further attacks."""
    settings = {
        "tier": "smoke", "norm": "linf", "radius": 0.0, "cw_radius": 0.5, "restarts": 1, "examples": 16, "probe_examples": 64,
        "batch_size": 64, "split": "test", "surrogate": "", "data_dir": None, "seed": 0, "images": 16, "checkpoint step": 10,
        "checkpoint digest": "65450296adf71032",
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    record = {"row": "FGSM 2/255 linf 0.00784313725", "stage": "fgsm", "run": 0, "batch": 0, "fell": [6], "broken": 0}
    (tmp_path / "batches.jsonl").write_text(json.dumps(record) + "\n")
    config, identity = dataclasses.replace(TIERS["smoke"], examples=16), {"step": 10, "digest": "65450296adf71032"}
    assert completed_rows(evaluation_folder(tmp_path, config, identity, 16, resume=True)) == [record]
    with pytest.raises(InputError, match="attacks: '' -> 'ddn'"):
        evaluation_folder(tmp_path, dataclasses.replace(config, attacks="ddn"), identity, 16, resume=True)


def test_progress_counts_to_what_the_work_is():
    steps = []

    class Progress(NoProgress):
        def update(self, step, **columns):
            steps.append((step, columns["attack"]))

    evaluate(NETWORK, x, y, CONFIG, completed=CompletedBatches(whole()[1][-1:]), progress=Progress())
    counts = [step for step, _ in steps]
    assert counts == sorted(counts) and counts[-1] <= work(CONFIG, 10, 40)
