"""Strategies of sampled searches, each by itself: codes, mutations, populations, against cases computed by hand."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.networks.plan import genotype_branches, supernet_branches
from dsrna_jax.search.sampled import STRATEGIES, evolution, strategy
from dsrna_jax.search.sampled.coding import CellCoding
from dsrna_jax.search.sampled_options import reward_weights

PRIMITIVES = SPACES["darts"].primitives
CODING = CellCoding(3, PRIMITIVES, 3)
KEY = jax.random.key(0)


def options(**changes):
    return SimpleNamespace(**{"strategy": "random", "round_size": 4, "population": 3, "tournament": 3} | changes)


def made(name, choices, **changes):
    return strategy.configured(options(strategy=name, **changes), np.array(choices))


@pytest.mark.parametrize("seed", range(3))
def test_the_mixture_of_a_code_has_weight_one_on_the_branches_of_its_genotype(seed):
    (code,) = strategy.uniform(jax.random.key(seed), 1, CODING.choices)
    genotype, mixtures, every = CODING.architecture(np.asarray(code)), CODING.mixtures(code), supernet_branches(3, PRIMITIVES)
    for kind in CELL_TYPES:
        weights = np.asarray(mixtures[kind].branches)
        assert set(weights.tolist()) == {0, 1}
        chosen = {branch for branch, weight in zip(every, weights, strict=True) if weight}
        assert chosen == set(genotype_branches(genotype.genes(kind)))


def test_a_code_by_hand():
    """Two nodes: node 2 reads both inputs; node 3 reads by pair number 2, which is (1, 2)."""
    genotype = CellCoding(2, ("none", "skip_connect", "sep_conv_3x3"), 3).architecture([0, 0, 1, 2, 1, 1] * 2)
    assert genotype.normal == (("skip_connect", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 1), ("sep_conv_3x3", 2))
    assert genotype.reduction == genotype.normal and genotype.normal_concat == (2, 3)


def test_a_node_that_is_left_out_has_no_branch():
    code = jnp.concatenate([jnp.zeros(6, jnp.int32), -jnp.ones(3, jnp.int32)] * 2)
    by_edge = CODING.mixtures(code)["normal"].branches.reshape(9, -1).sum(axis=1)
    np.testing.assert_array_equal(by_edge, [1, 1, 1, 1, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="whole cells"):
        CODING.architecture(np.asarray(code))


def test_uniform_codes_have_every_value_equally_often():
    codes = np.asarray(strategy.uniform(KEY, 6000, np.array([1, 3, 6])))
    for position, count in enumerate((1, 3, 6)):
        np.testing.assert_allclose(np.bincount(codes[:, position]) / 6000, np.full(count, 1 / count), atol=0.02)


def test_random_search_ignores_rewards():
    random = made("random", [4, 5, 6])
    state = random.init(KEY)
    codes = random.propose(state, KEY)
    seen = random.observe(state, codes, jnp.arange(4.0))
    np.testing.assert_array_equal(random.propose(seen, KEY), codes)
    assert codes.shape == (4, 3) and not np.array_equal(random.propose(state, jax.random.key(1)), codes)


def test_a_mutation_changes_one_position_that_has_a_choice_to_any_other_value():
    choices, code = np.array([1, 3, 2]), jnp.array([0, 1, 0])
    children = {tuple(evolution.mutated(code, key, choices).tolist()) for key in jax.random.split(KEY, 60)}
    assert children == {(0, 0, 0), (0, 2, 0), (0, 1, 1)}


def test_the_oldest_member_dies_whatever_its_reward():
    aging = made("evolution", [9, 9], round_size=1, population=2, tournament=2)
    state = aging.init(KEY)
    for number, reward in enumerate([5.0, 1.0, 2.0]):
        state = aging.observe(state, jnp.full((1, 2), number), jnp.array([reward]))
    assert sorted(np.asarray(state.rewards).tolist()) == [1, 2] and int(state.count) == 3
    assert sorted(np.asarray(state.codes)[:, 0].tolist()) == [1, 2]


def test_a_child_is_the_best_of_its_tournament_but_for_one_position():
    aging = made("evolution", [9, 9, 9], population=3, tournament=3)
    state = aging.observe(aging.init(KEY), jnp.arange(9).reshape(3, 3), jnp.array([1.0, 3.0, 2.0]))
    children = np.asarray(aging.propose(state, KEY))
    np.testing.assert_array_equal((children != np.array([3, 4, 5])).sum(axis=1), [1] * 4)


def test_a_tournament_of_one_breeds_from_every_member():
    aging = made("evolution", [2] * 8, round_size=64, population=3, tournament=1)
    codes = jnp.array([[0] * 8, [1] * 8, [0] * 4 + [1] * 4])
    state = aging.observe(aging.init(KEY), codes, jnp.array([1.0, 3.0, 2.0]))
    distance = (np.asarray(aging.propose(state, KEY))[:, None] != np.asarray(codes)).sum(axis=2)
    assert set(distance.argmin(axis=1)) == {0, 1, 2} and (distance.min(axis=1) == 1).all()


def test_until_the_population_is_full_children_are_random():
    aging, random = made("evolution", [4, 5, 6], population=9), made("random", [4, 5, 6])
    np.testing.assert_array_equal(aging.propose(aging.init(KEY), KEY), random.propose(random.init(KEY), KEY))


def best_of(name, rounds=40, **changes):
    """The best reward, minus the distance of a code to one that is sought, which a strategy finds."""
    sought, chosen = jnp.arange(10) % 4, made(name, [4] * 10, **changes)

    def step(state, key):
        codes = chosen.propose(state, key)
        rewards = -(codes != sought[None]).sum(axis=1).astype(jnp.float32)
        return chosen.observe(state, codes, rewards), rewards.max()

    return float(jax.lax.scan(step, chosen.init(KEY), jax.random.split(KEY, rounds))[1].max())


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("gradient", "random")])
def test_a_strategy_that_learns_finds_more_than_random_codes_do(name):
    assert best_of(name, population=8) > best_of("random")


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("accuracy", {"accuracy": 1}),
        ("accuracy+0.5*pgd_accuracy", {"accuracy": 1, "pgd_accuracy": 0.5}),
        (" 2*robustness - 1e-9*multiply_adds", {"robustness": 2, "multiply_adds": -1e-9}),
    ],
)
def test_rewards_are_sums_with_factors(text, weights):
    assert reward_weights(text) == weights


@pytest.mark.parametrize("text", ["", "speed", "accuracy robustness", "accuracy+accuracy", "accuracy*2", "1.2.3*accuracy", "2"])
def test_a_reward_that_is_no_sum_is_refused(text):
    with pytest.raises(InputError, match="^reward="):
        reward_weights(text)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("digits_random", {"children": 0}, "children=0: expected at least 1"),
        ("digits_random", {"children": 6}, "children=6 are no whole rounds: expected a multiple of round_size=4"),
        ("digits_random", {"space": "pcdarts"}, "space=pcdarts has weights of edges"),
        ("digits_random", {"mixture": "gumbel"}, "mixture='gumbel' does not fit strategy=random"),
        ("digits_random", {"reward": "robustness"}, "robustness needs a measure"),
        ("digits_evolution", {"tournament": 17}, "tournament=17: expected at most population=16"),
        ("digits_snas", {"children": 4}, "children=4 does not fit strategy=gradient: expected a strategy"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(preset, changes, message):
    with pytest.raises(InputError, match="^" + message) as error:
        dataclasses.replace(PRESETS[preset], **changes)
    assert "\n" not in str(error.value)
