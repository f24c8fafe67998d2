"""Parts of P-DARTS: dropped operations, dropout of identities, a limit on skips; each against what it is without."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quick import quick

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, edge_count, skip_count
from dsrna_jax.genotypes.kept_operations import kept_of, strongest, text_of
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.genotypes.skip_limit import derive_with_few_skips
from dsrna_jax.networks import network, spaces
from dsrna_jax.search import skip_dropout
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.setup import searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions

KEY, SHAPE = jax.random.key(0), (8, 8, 1)
SIZES = {"channels": 4, "classes": 3, "mean": (0.5,), "std": (0.25,)}
SKIP = PRIMITIVES.index("skip_connect")
SMALL = dataclasses.replace(PRESETS["smoke"], space="darts", metric="none", batch_size=4)
FEWER = "03,345;06,12"  # of a cell with one node: two edges


def random_alphas(seed, nodes=4):
    return {kind: np.random.default_rng([seed, i]).normal(size=(edge_count(nodes), 8)) for i, kind in enumerate(CELL_TYPES)}


# ---- operations that are kept


@given(st.integers(0, 1000), st.integers(2, 8))
def test_the_strongest_operations_of_each_edge_are_kept_and_named_by_a_text(seed, count):
    alphas = random_alphas(seed)
    before = strongest(random_alphas(seed + 1), 6)
    kept = strongest(alphas, min(count, 6), before)
    for kind in CELL_TYPES:
        assert (kept[kind].sum(1) == min(count, 6)).all() and (kept[kind] <= before[kind]).all()
        dropped = np.where(before[kind] & ~kept[kind], alphas[kind], -np.inf).max(1)
        assert (np.where(kept[kind], alphas[kind], np.inf).min(1) > dropped).all()
        np.testing.assert_array_equal(kept_of(text_of(kept), 4, PRIMITIVES)[kind], kept[kind])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("012", "expected two cells of 2 edges"),
        ("012,13;02", "expected two cells of 2 edges"),
        ("012,18;02,3", "'18' for an edge: expected columns from 0 to 7"),
        ("012,1x;02,3", "'1x' for an edge"),
        ("012,0;02,3", "'0' for an edge: expected .* one of them an operation other than none"),
        ("012,;02,3", "'' for an edge"),
    ],
)
def test_operations_that_are_no_columns_of_all_edges_are_refused_in_one_line(text, expected):
    with pytest.raises(InputError, match=expected) as error:
        SearchConfig(nodes=1, operations=text)
    assert "\n" not in str(error.value)


def test_dropped_operations_are_not_built_and_all_of_them_are_the_whole_supernet():
    every = {kind: np.ones((5, 8), bool) for kind in CELL_TYPES}
    assert spaces.supernet("darts", nodes=2, cells=3, kept=every, **SIZES) == spaces.supernet("darts", nodes=2, cells=3, **SIZES)
    kept = {kind: np.zeros((5, 8), bool) for kind in CELL_TYPES}
    for kind, column in zip(CELL_TYPES, (SKIP, PRIMITIVES.index("sep_conv_3x3")), strict=True):
        kept[kind][:, [0, column]] = True
    net = spaces.supernet("darts", nodes=2, cells=3, kept=kept, **SIZES)
    assert [[b.primitive for b in plan.branches] for plan in net.plans] == [["skip_connect"] * 5] + [["sep_conv_3x3"] * 5] * 2
    mixed = spaces.mixtures(random_alphas(0, 2), 2, PRIMITIVES, {kind: kept[kind] / 2 for kind in CELL_TYPES}, kept)
    assert [np.asarray(mixed[kind].branches).tolist() for kind in CELL_TYPES] == [[0.5] * 5] * 2


@functools.cache
def functions_of(**changes):
    config = dataclasses.replace(SMALL, **changes)
    return search_functions(config, searched_network(config, SHAPE, 10, (0.5,), (0.2,)), SHAPE, 3)


def batch(seed):
    generator = np.random.default_rng(seed)
    return SearchBatch(jnp.float32(generator.uniform(size=(4, *SHAPE))), jnp.asarray(generator.integers(10, size=4)))


def test_alphas_of_dropped_operations_have_neither_share_nor_gradient():
    functions = functions_of(operations=FEWER, alpha_decay=0.0, skip_dropout=0.3)
    state = quick(functions.init)(KEY)
    moved, metrics = quick(functions.alpha_step)(state, batch(0), batch(1), KEY)
    shares = jax.device_get(jax.jit(lambda state: functions.shares(state, state.alphas, None))(state))
    for kind, kept in kept_of(FEWER, 1, PRIMITIVES).items():
        np.testing.assert_allclose(np.sum(shares[kind], 1), 1, rtol=1e-6)
        has_moved = np.not_equal(moved.alphas[kind], state.alphas[kind])
        assert ((shares[kind] > 0) == kept).all() and (has_moved == kept).all()
    assert np.isfinite(metrics["val_batch_loss"]) and all(np.isfinite(x).all() for x in jax.tree.leaves(moved.alphas))
    assert network.weight_count(functions.supernet, SHAPE) < network.weight_count(functions_of().supernet, SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["jacobian", "certified"])
def test_a_supernet_of_fewer_operations_has_every_measure(metric):
    functions = functions_of(operations=FEWER, skip_dropout=0.3, metric=metric, space="pcdarts", channels=8)
    state = quick(functions.init)(KEY)
    moved, metrics = quick(functions.alpha_step)(state, batch(0), batch(1), KEY)
    assert np.isfinite(metrics["robustness"]) and all(np.isfinite(x).all() for x in jax.tree.leaves(moved.alphas))


# ---- dropout of identities


def test_rates_are_those_of_the_published_code():
    """`drop_rate * (E - e - 1) / E` while alphas are frozen, then `drop_rate * exp(-(e - 10) * 0.2)`."""
    rates = [float(skip_dropout.rate(epoch, 25, 10, 0.4)) for epoch in (0, 9, 10, 15, 24)]
    np.testing.assert_allclose(rates, [0.4 * 24 / 25, 0.4 * 15 / 25, 0.4, 0.4 * np.exp(-1), 0.4 * np.exp(-2.8)], rtol=1e-5)


@pytest.mark.parametrize("cells", [3, 7])
def test_an_identity_loses_pixels_of_its_own_on_each_edge_and_grows_by_as_much(cells):
    """Without other operations; seven cells have equal ones in a row."""
    net = spaces.supernet("darts", nodes=1, cells=cells, primitives=("skip_connect",), **SIZES)
    images = jax.random.uniform(KEY, (64, *SHAPE))
    variables = quick(net.init)(KEY, images)

    @quick
    def outputs(rate, key):
        dropping = net.clone(skip_dropout=rate)
        stem = net.apply(variables, images, method="stem")
        return dropping.apply(variables, 0, *stem, method="cell", rngs={"skip_dropout": key}), dropping.apply(
            variables, images, rngs={"skip_dropout": key}
        )

    @quick
    def undropped(variables):
        stem = net.apply(variables, images, method="stem")
        return net.apply(variables, 0, *stem, method="cell"), net.apply(variables, images)

    whole, logits = map(np.asarray, undropped(variables))
    for plain, dropped in zip((whole, logits), outputs(0.0, KEY), strict=True):
        np.testing.assert_allclose(dropped, plain, rtol=1e-4, atol=1e-5)
    if cells == 3:
        first, second = (np.asarray(outputs(0.75, jax.random.key(seed))[0]) for seed in (1, 2))
        assert np.mean(first == 0) == pytest.approx(0.75**2, abs=0.02) and not np.array_equal(first, second)
        assert np.mean(first) == pytest.approx(np.mean(whole), abs=0.05 * float(np.std(whole)))
    one, two = (outputs(0.75, jax.random.key(seed))[1] for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_a_search_with_dropout_traces_its_rate_and_leaves_evaluations_alone():
    plain, dropping = functions_of(operations=FEWER), functions_of(operations=FEWER, skip_dropout=0.5)
    state = quick(plain.init)(KEY)
    step = quick(dropping.weight_step)
    (one, metrics), (two, _) = step(state, batch(0), KEY), step(state, batch(0), jax.random.key(1))
    assert metrics["skip_dropout"] == pytest.approx(0.5 * 2 / 3)
    assert any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one.weights, two.weights)), strict=True))
    assert step(state.replace(step=jnp.int32(4)), batch(0), KEY)[1]["skip_dropout"] == pytest.approx(0.5)
    assert str(jax.make_jaxpr(plain.evaluate)(state, batch(0))) == str(jax.make_jaxpr(dropping.evaluate)(state, batch(0)))


# ---- a limit on skips


def published_refinement(alphas, most):
    """`delete_min_sk_prob`, `keep_1_on` and `keep_2_branches` of pdarts/train_search.py, for the normal cell."""
    shares = np.exp(alphas["normal"]) / np.exp(alphas["normal"]).sum(1, keepdims=True)
    shares[:, 0] = 0  # none is dropped in the last stage
    while True:
        operation, strength = shares.argmax(1), shares.max(1)
        chosen, start = [0, 1], 2
        for count in (3, 4, 5):
            chosen += sorted(start + i for i in np.argsort(strength[start : start + count])[-2:])
            start += count
        skips = [edge for edge in chosen if operation[edge] == SKIP]
        if len(skips) <= most:
            starts = {edge: sum(edge >= s for s in (2, 5, 9)) for edge in chosen}
            return tuple((PRIMITIVES[operation[e]], e - (0, 2, 5, 9)[starts[e]]) for e in chosen)
        weakest = min(skips, key=lambda edge: shares[edge, SKIP])
        shares[weakest, SKIP] = 0


@given(st.integers(0, 10_000), st.integers(0, 8), st.sampled_from([0.0, 1.0, 2.0]))
def test_the_limit_is_that_of_the_published_refinement(seed, most, bonus):
    alphas = random_alphas(seed)
    alphas["normal"][:, SKIP] += bonus
    refined = derive_with_few_skips(alphas, most=most)
    assert refined.normal == published_refinement(alphas, most) and skip_count(refined) <= most
    unlimited = derive_with_few_skips(alphas, most=8)
    assert {*unlimited.normal} == {*genotypes.derive(alphas).normal} and refined.reduction == unlimited.reduction


def test_a_skip_stays_where_nothing_else_is_left():
    alphas = random_alphas(0, 1)
    alphas["normal"][0, [i for i in range(8) if i not in (0, SKIP)]] = -np.inf
    assert derive_with_few_skips(alphas, most=0).normal[0] == ("skip_connect", 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"most_skips": 2, "keep": "all", "space": "darts"}, "most_skips=2 chooses two edges into each node: expected keep=two"),
    ],
)
def test_options_that_exclude_each_other_are_refused(changes, expected):
    with pytest.raises(InputError, match=expected):
        SearchConfig(**changes)
