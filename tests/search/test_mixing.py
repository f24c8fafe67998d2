"""Mixtures by temperature, Gumbel noise and pruning are those of SNAS, GDAS and ASAP, and reduce to those of DARTS."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_supernet import CONFIG, KEY, TRAIN, functions

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES
from dsrna_jax.networks import spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.multiplications import expected_multiply_adds, multiply_adds
from dsrna_jax.search import mixing

ALPHAS = jax.device_get({kind: jax.random.normal(jax.random.key(i), (5, 4)) for i, kind in enumerate(CELL_TYPES)})
NAMES = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")


def samples(rule, temperature, count=4000):
    """[sample, edge, primitive] of the normal cell."""
    sample = jax.vmap(lambda key: rule(ALPHAS, temperature, mixing.gumbel_noise(key, ALPHAS))["normal"])
    return np.asarray(jax.jit(sample)(jax.random.split(KEY, count)))


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 5.5), ("exponential", 10**0.5)])
def test_the_temperature_goes_from_its_start_in_the_first_epoch_to_its_end_in_the_last(schedule, middle):
    options = dataclasses.replace(CONFIG, temperature_start=10.0, temperature_end=1.0, temperature_schedule=schedule)
    values = [mixing.temperature(options, epoch, 5) for epoch in (0, 2, 4)]
    np.testing.assert_allclose(values, [10, middle, 1])
    assert mixing.temperature(options, 0, 1) == 10


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_one_operation_is_drawn_as_often_as_the_softmax_says_at_any_temperature(temperature):
    drawn, expected = samples(mixing.hard_shares, temperature), np.asarray(jax.nn.softmax(ALPHAS["normal"]))
    assert set(np.unique(drawn)) == {0.0, 1.0} and (drawn.sum(axis=2) == 1).all()
    error = np.abs(drawn.mean(axis=0) - expected) / np.sqrt(expected * (1 - expected) / len(drawn))
    assert error.max() < 4  # standard deviations


def test_samples_are_one_hot_at_temperature_zero_and_equal_shares_at_infinity():
    cold, hot = samples(mixing.shares, 1e-6), samples(mixing.shares, 1e6)
    np.testing.assert_allclose(cold.max(axis=2), 1, atol=1e-3)
    np.testing.assert_allclose(hot, 1 / 4, atol=1e-4)


def test_the_share_that_is_drawn_has_the_derivative_of_the_sample_and_the_others_none():
    @jax.jit
    def derivatives_and_value(alphas):
        noise = mixing.gumbel_noise(KEY, alphas)

        def normal(rule):
            return lambda alphas: rule(alphas, 2.0, noise)["normal"]

        hard, soft = normal(mixing.hard_shares), normal(mixing.shares)
        return jax.jacobian(hard)(alphas)["normal"], jax.jacobian(soft)(alphas)["normal"], hard(alphas)

    hard, soft, drawn = map(np.asarray, derivatives_and_value(ALPHAS))
    np.testing.assert_allclose(hard, soft * drawn[:, :, None, None], rtol=1e-6)
    assert np.abs(soft).max() > 0.01


def test_the_default_mixture_is_the_softmax_bit_for_bit():
    plain = jax.jit(spaces.shares)(ALPHAS)
    for kind, rows in jax.jit(lambda alphas: mixing.shares(alphas, 1.0))(ALPHAS).items():
        np.testing.assert_array_equal(rows, plain[kind])


def test_operations_below_their_part_of_an_equal_share_are_pruned_and_stay_so():
    options = dataclasses.replace(CONFIG, prune_below=0.4)
    # Shares [.7, .2, .06, .04] of four: those below .1 go; of three with shares [.74, .22, .04] those below .4 / 3.
    alphas = {kind: np.log(np.float32([[0.7, 0.2, 0.06, 0.04], [0.25, 0.25, 0.25, 0.25]])) for kind in CELL_TYPES}
    everything = {kind: np.ones((2, 4), bool) for kind in CELL_TYPES}
    pruned = jax.jit(lambda alphas, kept, temperature: mixing.pruned(options, alphas, kept, temperature, NAMES))
    kept = pruned(alphas, everything, 1.0)
    np.testing.assert_array_equal(kept["normal"], [[1, 1, 0, 0], [1, 1, 1, 1]])
    shares = np.asarray(jax.jit(lambda alphas, kept: mixing.shares(alphas, 1.0, None, kept)["normal"])(alphas, kept))
    np.testing.assert_array_equal(shares[0, 2:], 0)
    np.testing.assert_allclose(shares[0, :2], [7 / 9, 2 / 9], rtol=1e-6)
    # `none` wins the edge, yet its strongest operation stays; what was pruned does not come back.
    cold = pruned(alphas, kept, 0.05)
    np.testing.assert_array_equal(cold["normal"][0], [1, 1, 0, 0])
    again = pruned({kind: -rows for kind, rows in alphas.items()}, cold, 1.0)
    assert not (np.asarray(again["normal"]) & ~np.asarray(cold["normal"])).any()


def test_pruned_operations_have_no_gradient():
    kept = {kind: np.array([[True, True, False, False]] * 5) for kind in CELL_TYPES}
    gradient = jax.jit(jax.grad(lambda alphas: (mixing.shares(alphas, 0.5, None, kept)["normal"] ** 2).sum()))(ALPHAS)
    gradient = np.asarray(gradient["normal"])
    assert np.isfinite(gradient).all() and (gradient[:, 2:] == 0).all() and (gradient[:, 0] != 0).all()


# ---- genotypes


def test_every_edge_keeps_its_strongest_operation():
    chosen = [[0, 1], [2, 0, 0], [0, 0, 0, 0]]  # columns of NAMES; node 4 would have no edge
    rows = np.eye(4)[np.concatenate(chosen)] * 3.0
    rows[7, 3] = 2.0  # the strongest operation other than none into node 4: on its third edge
    found = genotypes.derive_dense({kind: rows for kind in CELL_TYPES}, NAMES)
    expected = ("none", "skip_connect", "sep_conv_3x3", "none", "none", "none", "none", "max_pool_3x3", "none")
    assert found == genotypes.DenseGenotype(expected, expected) and found.nodes == 3
    assert found.genes("normal") == (("skip_connect", 1, 2), ("sep_conv_3x3", 0, 3), ("max_pool_3x3", 2, 4))
    assert genotypes.skip_count(found) == 1
    assert str(found).splitlines()[0] == "normal: 2<-skip_connect(1) 3<-sep_conv_3x3(0) 4<-max_pool_3x3(2)"
    assert genotypes.from_json(genotypes.to_json(found)) == found


def test_what_is_pruned_is_not_derived_but_counts_in_the_strength_of_its_edge():
    logits = np.log([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    kept = np.array([[0, 1, 0]] * 5, bool)
    alphas, every = {kind: logits for kind in CELL_TYPES}, {kind: kept for kind in CELL_TYPES}
    found = genotypes.derive(alphas, ("skip_connect", "sep_conv_3x3", "max_pool_3x3"), every)
    convolution = "sep_conv_3x3"
    assert found.normal == ((convolution, 1), (convolution, 0), (convolution, 0), (convolution, 2))
    assert set(genotypes.derive_dense(alphas, ("skip_connect", convolution, "max_pool_3x3"), every).normal) == {convolution}


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (["sep_conv_3x3"] * 3, "as a list of 2, 5, 9, 14"),
        (["sep_conv_3x3", "tanh"], "unknown operation 'tanh' on edge 1 of the normal cell"),
        (["none", "none"], "a node of the normal cell has no edge"),
        ("none", "as a list"),
    ],
)
def test_a_dense_genotype_that_describes_no_network_is_refused(operations, message):
    with pytest.raises(InputError, match=message):
        genotypes.from_json({"normal_edges": operations, "reduction_edges": ["skip_connect"] * 2})


def test_one_hot_mixtures_expect_the_multiply_adds_of_the_network_that_they_choose():
    settings = {"cells": 3, "channels": 4, "classes": 10, "mean": (0.5,), "std": (0.5,)}
    supernet = spaces.supernet("darts", nodes=2, **settings)
    primitives = genotypes.PRIMITIVES
    logits = {kind: np.float32(50 * np.random.default_rng(i).normal(size=(5, 8))) for i, kind in enumerate(CELL_TYPES)}

    @jax.jit
    def expected(logits):
        mixtures = spaces.mixtures(logits, 2, primitives, mixing.hard_shares(logits, 1.0))
        return expected_multiply_adds(supernet, (8, 8, 1), mixtures)

    derived = derived_network(genotypes.derive_dense(logits, primitives), **settings)
    assert expected(logits) == multiply_adds(derived, (8, 8, 1))


# ---- steps


def test_one_level_moves_weights_and_alphas_by_one_batch():
    """Its alphas are those of an alpha step on the training batch alone, its weights those of a weight step."""
    one, two = functions(levels=1), functions(levels=2, warmup_epochs=0)
    one = dataclasses.replace(one, config=dataclasses.replace(one.config, warmup_epochs=0))
    state = jax.jit(two.init)(jax.random.key(0))
    joint, metrics = jax.jit(one.joint_step)(state, TRAIN, KEY)
    alphas, _ = jax.jit(two.alpha_step)(state, TRAIN, TRAIN, KEY)
    weights, of_weights = jax.jit(two.weight_step)(state, TRAIN, KEY)
    for name, expected in (("alphas", alphas), ("weights", weights), ("batch_stats", weights)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), getattr(joint, name), getattr(expected, name)
        )
    assert joint.step == 1 and abs(float(metrics["train_loss"]) - float(of_weights["train_loss"])) < 1e-6


def test_one_level_leaves_the_alphas_in_the_warm_up():
    of = functions(levels=1, warmup_epochs=1)
    state = jax.jit(of.init)(jax.random.key(0))
    joint, _ = jax.jit(of.joint_step)(state, TRAIN, KEY)
    for kind in CELL_TYPES:
        np.testing.assert_array_equal(joint.alphas[kind], state.alphas[kind])
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), joint.weights, state.weights)))


def test_samples_of_infinite_temperature_train_the_weights_of_equal_shares():
    hot = functions(mixture="gumbel", temperature_start=1e6, temperature_end=1e6)
    state = jax.jit(hot.init)(jax.random.key(0))
    equal = state.replace(alphas=jax.tree.map(np.zeros_like, state.alphas))
    ours, _ = jax.jit(hot.weight_step)(state, TRAIN, KEY)
    theirs, _ = jax.jit(functions().weight_step)(equal, TRAIN)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours.weights, theirs.weights)


def test_a_step_draws_one_mixture_for_all_its_parts_and_another_key_another():
    """With the batch in two parts of equal statistics, the gradient is that of the whole batch, so the mixture is the same."""
    whole, parts = functions(mixture="hard_gumbel", batch_size=6), functions(mixture="hard_gumbel", batch_size=6, microbatch=3)
    twice = jax.tree.map(lambda x: np.repeat(x[:3], 2, axis=0), TRAIN)  # parts take every second image
    state = jax.jit(whole.init)(jax.random.key(0))
    ends = [
        jax.jit(of.weight_step)(state, twice, key)[0].weights
        for of, key in ((whole, KEY), (parts, KEY), (whole, jax.random.key(5)))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *ends[:2])
    assert not np.allclose(ends[0]["in"], ends[2]["in"], rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 1, "order": "unrolled"}, "levels=1 has no hypergradient of order='unrolled'"),
        ({"levels": 1, "perturbation": "uniform"}, "perturbation='uniform' changes the weight step alone"),
        ({"keep": "all", "space": "s5"}, "keep=all needs an operation `none`"),
        ({"temperature_end": 0.0}, "temperature_end"),
        ({"prune_below": 1.0}, "prune_below"),
    ],
)
def test_options_of_mixtures_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize("name", ["digits_snas", "digits_gdas", "digits_asap"])
def test_the_presets_are_their_published_namesakes_on_the_digits(name):
    """They differ in data and rates, not in the method."""
    ours, theirs = PRESETS[name], PRESETS[name.replace("digits", "cifar10")]
    for field in (
        "mixture",
        "temperature_start",
        "temperature_end",
        "temperature_schedule",
        "prune_below",
        "levels",
        "keep",
        "order",
    ):
        assert getattr(ours, field) == getattr(theirs, field), field
