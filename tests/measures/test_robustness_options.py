"""R in the objective: units of the logits, gamma over the epochs, and the network that is measured."""

import dataclasses
import functools
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_chains import IMAGES, chain, log, measured, of, right_labels
from quick import quick
from random_alphas import alphas_of
from tiny_supernet import CONFIG, KEY, TRAIN, VAL, make

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, edges
from dsrna_jax.measures import jacobian
from dsrna_jax.measures.units import LEAST, UNITS
from dsrna_jax.networks import spaces
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.derived import REST, derived_mixtures
from dsrna_jax.search.gamma import gamma_of

SCALED = ("margin", "std")
PRIMITIVES = genotypes.PRIMITIVES

# ---- units


def test_units_by_hand():
    """Margins 2, -1 and 4, of which the second counts 0; three logits 0, 0, 3 deviate by sqrt(2)."""
    logits, labels = np.float32([[3, 1, 1], [0, 0, 3], [0, 4, 0]]), np.array([0, 1, 1])
    units = jax.jit(lambda labels: {name: unit(logits, labels) for name, unit in UNITS.items()})
    found = jax.tree.map(np.asarray, units(labels))
    np.testing.assert_allclose(found["margin"], np.full(3, 2.0), rtol=1e-6)
    np.testing.assert_allclose(found["std"][1], 2**0.5, rtol=1e-6)
    none_right = np.full(3, LEAST * found["std"].mean())
    np.testing.assert_allclose(units(np.array([1, 1, 2]))["margin"], none_right, rtol=1e-6)
    assert (np.asarray(jax.jit(lambda: UNITS["std"](jnp.ones((2, 3)), None))()) > 0).all() and (found["one"] == 1).all()


def linear(scale):
    weights = np.random.default_rng(0).normal(size=(4, 3))
    return lambda images: scale * jnp.asarray(images).reshape(len(images), -1) @ weights


LABELS = np.argmax(linear(1.0)(IMAGES), 1)
CHAIN = chain(2)
RIGHT = right_labels(CHAIN)


@pytest.mark.parametrize("unit", SCALED)
def test_the_jacobian_in_a_unit_is_divided_by_it(unit):
    """The function is linear: its norm is the same everywhere."""

    @quick
    def computed(x):
        r, plain = (jacobian.robustness(linear(1.0), x, LABELS, method="exact", **unit_of) for unit_of in ({"unit": unit}, {}))
        return r.robustness, plain.robustness, UNITS[unit](plain.logits, LABELS)

    r, plain, size = map(np.asarray, computed(IMAGES))
    np.testing.assert_allclose(r, plain / size, rtol=1e-5)


@functools.cache
def mean_r_and_slope(kind, unit):
    """(mean R, its derivative by a factor of all logits) as a function of that factor."""

    def mean(scale):
        if kind == "jacobian":
            r = jacobian.robustness(linear(scale), IMAGES, LABELS, method="exact", unit=unit)
        else:
            matrices, weights, gain = of(CHAIN)
            r = measured(kind, (matrices, scale * weights, gain), IMAGES, RIGHT, log(1e-3), unit=unit)
        return r.robustness.mean()

    return quick(jax.value_and_grad(mean))


@pytest.mark.parametrize("unit", SCALED)
@pytest.mark.parametrize("kind", ["jacobian", "cell", "margin"])
def test_r_in_a_unit_does_not_change_when_all_logits_are_scaled(kind, unit):
    (small, by_small), (large, by_large) = (map(np.asarray, mean_r_and_slope(kind, unit)(scale)) for scale in (0.01, 7.0))
    np.testing.assert_allclose(small, large, rtol=1e-4)
    assert abs(0.01 * by_small) < 1e-4 and abs(7 * by_large) < 1e-4


@pytest.mark.parametrize("kind", ["jacobian", "margin"])
def test_r_as_it_is_does_change(kind):
    small, large = (mean_r_and_slope(kind, "one")(scale)[0].item() for scale in (0.01, 7.0))
    assert abs(small - large) > 0.01


@pytest.mark.parametrize("unit", SCALED)
def test_cells_in_a_unit_are_bounded_with_the_head(unit):
    """R is log(unit) minus the logarithms of the mean absolute row sums of all matrices."""
    logits, r, _ = measured("cell", of(CHAIN), IMAGES, RIGHT, log(1e-3), unit=unit)
    stages = sum(np.log(2 * np.abs(m).sum(1).mean()) for m in CHAIN.matrices) + np.log(np.abs(CHAIN.weights).sum(1).mean())
    np.testing.assert_allclose(r, np.log(jax.jit(UNITS[unit])(logits, RIGHT)) - stages, rtol=1e-4)


# ---- gamma


def test_gamma_grows_in_equal_steps_over_the_epochs_in_which_alphas_move():
    config = dataclasses.replace(CONFIG, gamma=0.4, epochs=6, warmup_epochs=2, gamma_schedule="linear")
    np.testing.assert_allclose([gamma_of(config, epoch) for epoch in range(6)], [0, 0, 0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert gamma_of(dataclasses.replace(config, gamma_schedule="constant"), 0) == 0.4


@pytest.fixture(scope="module")
def state():
    return make()[1](jax.random.key(0))


def gradient(state, **changes):
    """The moments of the gradient that the optimiser of the alphas has after a step."""
    return make(warmup_epochs=0, **changes)[2](state, TRAIN, VAL, KEY)[0].alpha_optimizer


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_step_has_the_gamma_of_its_epoch_from_one_program(state):
    """The last of four epochs of three steps has gamma itself, and the first a quarter."""
    late = state.replace(step=jnp.int32(9))
    chex.assert_trees_all_close(gradient(late, gamma_schedule="linear"), gradient(late), rtol=1e-5, atol=1e-7)
    quarter = gradient(state, gamma=CONFIG.gamma / 4)
    chex.assert_trees_all_close(gradient(state, gamma_schedule="linear"), quarter, rtol=1e-5, atol=1e-7)
    assert make(warmup_epochs=0, gamma_schedule="linear")[2]._cache_size() == 1


# ---- the derived network


@pytest.mark.parametrize("has_edges", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_derived_mixtures_are_those_of_the_derived_cell(seed, has_edges):
    alphas = alphas_of(3, seed, has_edges)
    kept = None if seed % 2 else {kind: alphas[kind] < 1 for kind in CELL_TYPES}
    found = quick(lambda alphas: derived_mixtures(alphas, 3, PRIMITIVES, kept))(alphas)
    cell = genotypes.derive(alphas, PRIMITIVES, kept)
    for kind in CELL_TYPES:
        chosen = {(source, target): name for name, source, target in cell.genes(kind)}
        expected = [[chosen.get(edge) == name for name in PRIMITIVES if name != "none"] for edge in edges(3)]
        np.testing.assert_allclose(found[kind].branches, np.ravel(expected), atol=2 * REST)
        np.testing.assert_allclose(found[kind].edges, [edge in chosen for edge in edges(3)], atol=2 * REST)
        assert (found[kind].branches > 0).all()


def test_their_derivatives_are_those_of_the_supernets_own_mixtures():
    alphas = jax.tree.map(jnp.asarray, alphas_of(2, 0, edge_logits=True))
    weights = np.random.default_rng(1).normal(size=5 * 7 + 5)

    def total(mixtures):
        return sum(weights @ jnp.concatenate([mixture.branches, mixture.edges]) for mixture in mixtures.values())

    straight, own = (
        quick(jax.grad(lambda a, mixtures=mixtures: total(mixtures(a, 2, PRIMITIVES))))(alphas)
        for mixtures in (derived_mixtures, spaces.mixtures)
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), straight, own)


def test_r_of_a_cell_that_is_certain_is_that_of_the_supernet(state):
    """Every edge has one operation, and a cell of one node keeps all edges: bit for bit."""
    alphas = np.zeros((2, 8), np.float32)
    alphas[:, 3] = 200
    certain = state.replace(alphas={kind: alphas for kind in CELL_TYPES})
    assert same(gradient(certain, metric_network="derived"), gradient(certain))
    assert not same(gradient(state, metric_network="derived"), gradient(state))


# ---- bad input


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"metric": "certified", "certificate": "radius", "metric_unit": "margin"}, "metric_unit='margin' changes no radius"),
        ({"metric_network": "derived", "space": "darts", "keep": "all"}, "keep='all' with metric_network=derived"),
        ({"metric_network": "derived", "most_skips": 2}, "most_skips=2 with metric_network=derived"),
        ({"metric_network": "derived", "space": "proxyless"}, "metric_network='derived' is of cells"),
        ({"gamma_schedule": "linear", "space": "darts", "strategy": "random", "children": 8}, "expected strategy=gradient"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        SearchConfig(**options)


def test_the_label_of_r_has_its_unit():
    config = SimpleNamespace(jacobian_norm="row_l2", jacobian_method="rows", n_proj=1, metric_unit="margin")
    assert jacobian.measure(config).label == "R row_l2 / margin"
