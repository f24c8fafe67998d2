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
from dsrna_jax.search.options.sampled import front_objectives, reward_weights
from dsrna_jax.search.sampled import STRATEGIES, evolution, pnas, reinforce, strategy
from dsrna_jax.search.sampled.coding import CellCoding
from dsrna_jax.search.sampled.front import front

PRIMITIVES = SPACES["darts"].primitives
CODING = CellCoding(3, PRIMITIVES, 3)
KEY = jax.random.key(0)


def options(**changes):
    return SimpleNamespace(
        **{"strategy": "random", "round_size": 4, "population": 3, "tournament": 3, "nodes": 1, "children": 160}
        | {"controller_lr": 0.02, "controller_entropy": 1e-4}
        | changes
    )


def made(name, choices, **changes):
    """A strategy whose functions are compiled."""
    return strategy.Strategy(*map(jax.jit, strategy.configured(options(strategy=name, **changes), np.array(choices))))


MIXTURES = jax.jit(CODING.mixtures)


@pytest.mark.parametrize("seed", range(3))
def test_the_mixture_of_a_code_has_weight_one_on_the_branches_of_its_genotype(seed):
    code = np.random.default_rng(seed).integers(CODING.choices, dtype=np.int32)
    genotype, mixtures, every = CODING.architecture(code), MIXTURES(code), supernet_branches(3, PRIMITIVES)
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
    code = np.array(([0] * 6 + [-1] * 3) * 2)
    by_edge = np.reshape(MIXTURES(code)["normal"].branches, (9, -1)).sum(axis=1)
    np.testing.assert_array_equal(by_edge, [1, 1, 1, 1, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="whole cells"):
        CODING.architecture(code)


def test_uniform_codes_have_every_value_equally_often():
    codes = np.asarray(jax.jit(lambda key: strategy.uniform(key, 6000, np.array([1, 3, 6])))(KEY))
    for position, count in enumerate((1, 3, 6)):
        np.testing.assert_allclose(np.bincount(codes[:, position]) / 6000, np.full(count, 1 / count), atol=0.02)


def test_random_search_ignores_rewards():
    random = made("random", [4, 5, 6])
    state = random.init(KEY)
    codes = random.propose(state, KEY)
    seen = random.observe(state, codes, np.arange(4.0))
    np.testing.assert_array_equal(random.propose(seen, KEY), codes)
    assert codes.shape == (4, 3) and not np.array_equal(random.propose(state, jax.random.key(1)), codes)


def test_a_mutation_changes_one_position_that_has_a_choice_to_any_other_value():
    choices = np.array([1, 3, 2])
    mutated = jax.jit(jax.vmap(lambda key: evolution.mutated(jnp.array([0, 1, 0]), key, choices)))
    assert set(map(tuple, mutated(jax.random.split(KEY, 60)).tolist())) == {(0, 0, 0), (0, 2, 0), (0, 1, 1)}


def test_the_oldest_member_dies_whatever_its_reward():
    aging = made("evolution", [9, 9], round_size=1, population=2, tournament=2)
    state = aging.init(KEY)
    for number, reward in enumerate([5.0, 1.0, 2.0]):
        state = aging.observe(state, np.full((1, 2), number), np.array([reward]))
    assert sorted(np.asarray(state.rewards).tolist()) == [1, 2] and int(state.count) == 3
    assert sorted(np.asarray(state.codes)[:, 0].tolist()) == [1, 2]


def test_a_child_is_the_best_of_its_tournament_but_for_one_position():
    aging = made("evolution", [9, 9, 9], population=3, tournament=3)
    state = aging.observe(aging.init(KEY), np.arange(9).reshape(3, 3), np.array([1.0, 3.0, 2.0]))
    children = np.asarray(aging.propose(state, KEY))
    np.testing.assert_array_equal((children != np.array([3, 4, 5])).sum(axis=1), [1] * 4)


def test_a_tournament_of_one_breeds_from_every_member():
    aging = made("evolution", [2] * 8, round_size=64, population=3, tournament=1)
    codes = np.array([[0] * 8, [1] * 8, [0] * 4 + [1] * 4])
    state = aging.observe(aging.init(KEY), codes, np.array([1.0, 3.0, 2.0]))
    distance = (np.asarray(aging.propose(state, KEY))[:, None] != codes).sum(axis=2)
    assert set(distance.argmin(axis=1)) == {0, 1, 2} and (distance.min(axis=1) == 1).all()


def test_until_the_population_is_full_children_are_random():
    aging, random = made("evolution", [4, 5, 6], population=9), made("random", [4, 5, 6])
    np.testing.assert_array_equal(aging.propose(aging.init(KEY), KEY), random.propose(random.init(KEY), KEY))


def best_of(name, rounds=40, **changes):
    """The best reward, minus the distance of a code to one that is sought, which a strategy finds."""
    sought, chosen = np.arange(10) % 4, made(name, [4] * 10, **changes)

    def step(state, key):
        codes = chosen.propose(state, key)
        rewards = -(codes != sought[None]).sum(axis=1).astype(jnp.float32)
        return chosen.observe(state, codes, rewards), rewards.max()

    return jax.jit(lambda key: jax.lax.scan(step, chosen.init(key), jax.random.split(key, rounds))[1].max())(KEY)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("gradient", "random")])
def test_a_strategy_that_learns_finds_more_than_random_codes_do(name):
    assert best_of(name, population=8) > best_of("random")


def test_the_controller_draws_a_code_as_often_as_it_says():
    choices = np.array([2, 1, 3])
    every = np.array([[a, 0, c] for a in range(2) for c in range(3)])

    @jax.jit
    def written(every, keys):
        weights = jax.tree.map(lambda leaf: 20 * leaf, reinforce.initial(KEY, choices))
        likelihoods = jax.vmap(lambda code: reinforce.written(weights, choices, None, code)[1])(every)
        return likelihoods, jax.vmap(lambda key: reinforce.written(weights, choices, key)[0])(keys)

    likelihoods, drawn = written(every, jax.random.split(KEY, 4000))
    counts = (np.asarray(drawn)[:, None] == every[None]).all(axis=2).mean(axis=0)
    np.testing.assert_allclose(np.exp(likelihoods).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(counts, np.exp(likelihoods), atol=0.03)


def test_the_controller_makes_what_was_better_than_the_mean_likelier():
    learner, choices = made("reinforce", [3, 3], round_size=2), np.array([3, 3])
    state, codes = learner.init(KEY), np.array([[0, 1], [2, 0]])

    @jax.jit
    def likelihood(state, code):
        return reinforce.written(state.weights, choices, None, code)[1]

    seen = learner.observe(state, codes, np.array([1.0, 0.0]))
    assert likelihood(seen, codes[0]) > likelihood(state, codes[0]) and likelihood(seen, codes[1]) < likelihood(state, codes[1])
    assert float(seen.baseline) == 0.5


def test_without_a_difference_in_rewards_and_without_entropy_the_controller_stays():
    learner = made("reinforce", [3, 3], round_size=2, controller_entropy=0.0)
    state = learner.init(KEY)
    seen = learner.observe(state, np.array([[0, 1], [2, 0]]), np.array([0.7, 0.7]))
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), seen.weights, state.weights))


def test_cells_of_pnas_grow_by_a_node_from_the_best_before():
    """Two nodes of one position in each of two cells; two rounds of two children a node."""
    growing = made("pnas", [9, 9, 9, 9], round_size=2, children=8, nodes=2)
    state, left_out = growing.init(KEY), np.array([False, True, False, True])
    rounds = []
    for seed, rewards in enumerate([[1.0, 4.0], [3.0, 2.0], [0.0, 0.0], [0.0, 0.0]]):
        rounds.append(np.asarray(growing.propose(state, jax.random.key(seed))))
        state = growing.observe(state, rounds[-1], np.array(rewards))
    for codes in rounds[:2]:
        np.testing.assert_array_equal(codes < 0, [left_out] * 2)
    parents = {tuple(code[~left_out]) for code in (rounds[0][1], rounds[1][0])}
    for codes in rounds[2:]:
        assert (codes >= 0).all() and {tuple(code[~left_out]) for code in codes} <= parents


def test_no_child_of_pnas_is_one_before_it_while_there_are_others():
    """60 of 81 codes are judged; with rewards of their sums the surrogate would propose the best of them again."""
    growing = made("pnas", [3, 3, 3, 3], round_size=4, children=60)
    memory, seen = growing.init(KEY), []
    for number in range(15):
        codes = growing.propose(memory, jax.random.fold_in(KEY, number))
        memory = growing.observe(memory, codes, codes.sum(1) * 1.0)
        seen += map(tuple, codes.tolist())
    assert len(set(seen)) == len(seen) == 60


def test_the_surrogate_knows_additive_rewards():
    choices, codes = np.array([4, 4, 4]), np.random.default_rng(0).integers(4, size=(400, 3))
    memory = pnas.Memory(np.pad(codes, [(0, 5), (0, 0)]), np.pad(codes.sum(1) * 1.0, (0, 5)), 400)
    predicted = jax.jit(lambda memory, codes: pnas.predicted(memory, codes, choices))
    np.testing.assert_allclose(predicted(memory, codes[:9]), codes[:9].sum(1), atol=0.1)


def test_the_front_has_what_nothing_beats_in_all_objectives():
    values = np.array([[0.9, 5], [0.8, 3], [0.8, 4], [0.9, 5], [0.1, 1], [0.05, 1]])
    assert front(values, ("accuracy", "multiply_adds")) == [0, 1, 4]
    assert front(values, ("accuracy", "robustness")) == [0]


@pytest.mark.parametrize("text", ["accuracy", "accuracy,accuracy", "accuracy,speed", ","])
def test_objectives_of_a_front_are_two_that_are_known(text):
    with pytest.raises(InputError, match="^objectives="):
        front_objectives(text)


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
        ("digits_random", {"mixture": "gumbel"}, "mixture='gumbel' has no effect: expected strategy=gradient"),
        ("digits_random", {"reward": "robustness"}, "robustness needs a measure"),
        ("digits_random", {"objectives": "accuracy,beauty"}, "objectives='accuracy,beauty': expected two or more of"),
        ("digits_random", {"epochs": 0}, "epochs=0 trains no supernet"),
        ("digits_random", {"cell_free": True}, "cell_free is of RobNet's codes"),
        ("digits_pnas", {"children": 12}, "strategy=pnas has a round for each node"),
        ("digits_robnet", {"strategy": "pnas"}, "strategy=pnas grows cells with two edges"),
        ("digits_evolution", {"tournament": 17}, "tournament=17: expected at most population=16"),
        ("digits_snas", {"children": 4}, "children=4 has no effect: expected strategy!=gradient"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(preset, changes, message):
    with pytest.raises(InputError, match="^" + message) as error:
        dataclasses.replace(PRESETS[preset], **changes)
    assert "\n" not in str(error.value)
