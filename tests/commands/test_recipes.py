"""Presets have every number of the recipe that they claim: a table of the published values, and of our departures, with why."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from recipes import SEARCHES, TRAININGS

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.evaluation.attack.budgets import attack_rows
from dsrna_jax.evaluation.attack.config import TIERS
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.search.optimizers import alpha_optimizer, weight_rate
from dsrna_jax.training.schedules import learning_rate

DIGITS = {
    f"digits_{name}"
    for name in (
        "dsrna_jacobian",
        "dsrna_cb",
        "darts_first",
        "darts_second",
        "pcdarts",
        "darts_plus",
        "pdarts",
        "rdarts_l2",
        "darts_es",
        "darts_ada",
        "sdarts_rs",
        "sdarts_adv",
        "pcdarts_rs",
        "pcdarts_adv",
        "snas",
        "gdas",
        "asap",
        "proxyless",
        "random",
        "evolution",
        "enas",
        "pnas",
        "nasnet",
        "robnet",
        "robnet_free",
    )
}
OWN = DIGITS | {"smoke"}, {"digits", "mnist_short", "cifar10_short", "smoke"}
CASES = [(PRESETS[name], recipe) for name, recipe in SEARCHES.items()] + [
    (TRAINING_PRESETS[name], recipe) for name, recipe in TRAININGS.items()
]


@pytest.mark.parametrize(("preset", "recipe"), CASES, ids=[*SEARCHES, *(f"training {name}" for name in TRAININGS)])
def test_a_preset_has_the_published_numbers_but_for_the_departures_that_are_named(preset, recipe):
    fields = dataclasses.asdict(preset)
    expected = recipe.published | {field: ours for field, (ours, _) in recipe.departures.items()}
    assert {field: fields[field] for field in expected} == pytest.approx(expected), recipe.source
    for field, (ours, why) in recipe.departures.items():
        assert why and ours != recipe.published[field], f"{field} departs from nothing"


def test_every_preset_has_a_recipe_or_is_our_own():
    assert set(PRESETS) == OWN[0] | set(SEARCHES)
    assert set(TRAINING_PRESETS) == OWN[1] | set(TRAININGS)


def test_every_search_by_gradients_draws_the_alarm_of_a_collapse():
    """All but the smallest, and the search on ImageNet, where it takes twice the memory of a step."""
    without = {name for name, config in PRESETS.items() if config.strategy == "gradient" and not config.eigenvalue_every}
    assert without == {"smoke", "imagenet_pcdarts_search"}


def test_every_number_of_section_4_2_2_is_in_the_table():
    """In the order of the text; those of optimisers that have no field are tested below."""
    no_field = (0.5, 0.999)  # betas, for both methods
    of_search = (3, 8, 50, 16, 0.1, 256, 0.9, 3e-4, 6e-4, *no_field, 3e-4, 0.025, 128, 0.9, 3e-4, 3e-4, *no_field, 1e-3)
    of_training = (20, 600, 128, 0.025, 5, 0.3, 36, 14, 48, 250, 0.5, 0.9, 3e-5)
    searched = [
        value
        for recipe in (SEARCHES["cifar10_dsrna_cb"], SEARCHES["cifar10_dsrna_jacobian"])
        for value in recipe.published.values()
    ]
    trained = [value for name in ("cifar10", "imagenet_dsrna") for value in TRAININGS[name].published.values()]
    assert set(of_search) - set(no_field) | {0.01, 0.03} <= set(searched)
    assert set(of_training) <= set(trained)
    operations = {f"{kind}_conv_{size}" for kind in ("sep", "dil") for size in ("3x3", "5x5")}
    assert set(SPACES["pcdarts"].primitives) == operations | {"max_pool_3x3", "avg_pool_3x3", "skip_connect", "none"}


@pytest.mark.parametrize("name", SEARCHES)
def test_alphas_move_by_adam_with_betas_of_a_half_and_0_999_at_a_fixed_rate(name):
    """And with L2 decay in the gradient, by hand for three steps."""
    config = PRESETS[name]
    optimizer, alphas = alpha_optimizer(config), jnp.array([0.3, -0.2])
    state, mean, square = optimizer.init(alphas), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(np.array([[1.0, -2.0], [0.5, 1.0], [-6.0, 0.1]]), 1):
        updates, state = optimizer.update(jnp.float32(gradient), state, alphas)
        clipped = gradient * min(1, (config.alpha_clip or np.inf) / np.linalg.norm(gradient))
        decayed = clipped + config.alpha_decay * np.array([0.3, -0.2])
        mean, square = 0.5 * mean + 0.5 * decayed, 0.999 * square + 0.001 * decayed**2
        expected = -config.alpha_lr * (mean / (1 - 0.5**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(updates, expected, rtol=1e-4, atol=1e-8)


def test_the_tier_paper_has_the_attacks_of_section_4_3_1():
    """FGSM within 2/255; PGD of 10, 20 and 100 steps of 2/255 within 8/255; C&W of 60 iterations."""
    rows = {row.name: row for row in attack_rows(TIERS["paper"], 10)}
    fgsm = rows["FGSM 2/255"]
    assert (fgsm.norm, fgsm.radius) == ("linf", pytest.approx(2 / 255)) and dict(fgsm.stages[0].numbers)["steps"] == 1
    for steps in (10, 20, 100):
        row = rows[f"PGD-{steps}"]
        numbers = dict(row.stages[0].numbers)
        assert (row.norm, row.radius, numbers["steps"]) == ("linf", pytest.approx(8 / 255), steps)
        assert numbers["stride"] * row.radius == pytest.approx(2 / 255) and numbers["spread"] == 1  # a random start
    assert rows["C&W-l2"].norm == "l2" and dict(rows["C&W-l2"].stages[0].options)["steps"] == 60


def test_learning_rates_follow_the_published_schedules():
    cb, adversarial, fast = PRESETS["cifar10_dsrna_cb"], TRAINING_PRESETS["cifar10_adversarial"], TRAINING_PRESETS["cifar10_fast"]
    np.testing.assert_allclose([weight_rate(cb, epoch) for epoch in (0, 25, 50)], [0.1, 0.05, 0.0], atol=1e-8)
    np.testing.assert_allclose([learning_rate(adversarial, e) for e in (0, 99, 100, 149, 150)], [0.1, 0.1, 0.01, 0.01, 0.001])
    np.testing.assert_allclose([learning_rate(fast, step, 4) for step in (0, 15, 30, 60)], [0, 0.1, 0.2, 0], atol=1e-7)
    imagenet, annealed = TRAINING_PRESETS["imagenet"], TRAINING_PRESETS["imagenet_dsrna"]
    np.testing.assert_allclose(
        [learning_rate(imagenet, epoch) for epoch in (0, 1, 249)], [0.1, 0.097, 0.1 * 0.97**249], rtol=1e-5
    )
    free, searched = TRAINING_PRESETS["imagenet_free"], PRESETS["imagenet_pcdarts_search"]
    np.testing.assert_allclose([learning_rate(free, epoch) for epoch in (0, 7, 8, 15, 16)], [0.1, 0.1, 0.01, 0.01, 0.001])
    np.testing.assert_allclose([weight_rate(searched, epoch) for epoch in (0, 25)], [0.1, 0.25], rtol=1e-5)
    np.testing.assert_allclose([learning_rate(annealed, epoch) for epoch in (0, 4, 125)], [0.1, 0.5 * 246 / 250, 0.25], rtol=1e-5)
