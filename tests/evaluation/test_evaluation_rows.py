"""The rows of an evaluation: attacks by name, their budgets and norms, settings that are refused."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

from dsrna_jax.attacks import series
from dsrna_jax.confidence import wilson
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import budgets
from dsrna_jax.evaluation.attack.config import TIERS, AttackConfig

CONFIG = dataclasses.replace(TIERS["smoke"], radius=0.07, cw_radius=0.4)


def test_only_the_published_series_is_called_autoattack():
    names = {tier: [row.name for row in budgets.attack_rows(config, 10)] for tier, config in TIERS.items()}
    assert names["smoke"] == ["FGSM 2/255", "FGSM 8/255", "PGD-10", "PGD-20", "C&W-l2", "APGD-CE+Square"]
    assert names["paper"] == [*names["smoke"][:4], "PGD-100", "C&W-l2", "DDN-100", "AutoAttack"]
    assert names["standard"] == ["AutoAttack"]
    row = budgets.attack_rows(TIERS["standard"], 10)[0]
    assert [stage.name for stage in row.stages] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert row.budget == "APGD-CE 100; APGD-T by dlr 100 x 9 targets; FAB-T 100 x 9 targets; Square 5000"
    assert all(row.budget and row.cost for tier in TIERS.values() for row in budgets.attack_rows(tier, 10))


@pytest.mark.parametrize("classes", [2, 3])
def test_with_fewer_than_four_classes_the_margin_replaces_the_targeted_dlr(classes):
    row = budgets.attack_rows(TIERS["standard"], classes)[0]
    assert row.name == "APGD-CE+APGD-T+FAB-T+Square" and "APGD-T by margin 100 x " in row.budget
    short = budgets.series_row(0.3, "linf", classes, steps=3, queries=5)
    weights = jax.random.normal(jax.random.key(0), (16, classes))
    images = np.asarray(jax.random.uniform(jax.random.key(1), (6, 4, 4, 1)))

    def linear(weights, images):
        return images.reshape(len(images), -1) @ weights

    labels, robust = np.asarray(linear(weights, images).argmax(1)), np.ones(6, bool)
    targeted = [stage for stage in short.stages if stage.name == "apgd-t"]
    settings = {"stages": targeted, "radius": 0.01, "norm": "linf", "batch_size": 6, "robust": robust}
    batches = series.run_series(Partial(linear, weights), images, labels, jax.random.key(2), **settings)
    assert [batch.run for batch in batches] == list(range(classes - 1))


def test_wilson_intervals_equal_published_ones():
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
        ({"examples": -1}, "examples=-1: expected at least 0"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        AttackConfig(**fields)


@pytest.mark.parametrize(
    ("names", "message"), [("fgms", "unknown attack 'fgms': expected one of fgsm"), ("autoattack", "attacks that can be jitted")]
)
def test_attacks_that_cannot_be_rows_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        budgets.attack_rows(dataclasses.replace(CONFIG, attacks=names), 10)


def test_default_rows_have_a_norm_that_the_attack_knows():
    rows = budgets.attack_rows(dataclasses.replace(CONFIG, attacks="ddn,square"), 10)[-2:]
    assert [(row.name, row.norm, row.radius, row.is_nearest) for row in rows] == [
        ("ddn", "l2", 0.4, True),
        ("square", "linf", 0.07, False),
    ]


@pytest.mark.parametrize(("classes", "loss"), [(3, "margin"), (10, "dlr")])
def test_the_row_of_apgd_t_says_which_loss_it_takes(classes, loss):
    assert budgets.attack_rows(dataclasses.replace(CONFIG, attacks="apgd_t"), classes)[-1].budget == f"default options, by {loss}"
