"""Paths: a network that skips what it is not told to compute has the outputs and gradients of the supernet with that mixture."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import edges
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.networks import spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.multiplications import multiply_adds, path_multiply_adds
from dsrna_jax.networks.path import Path, path_network
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.sampled.coding import CellCoding, RobNetCoding
from dsrna_jax.search.sampled.strategy import uniform
from dsrna_jax.search.setup import draws_paths, searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions

NODES, CELLS = 2, 3
SETTINGS = {"nodes": NODES, "cells": CELLS, "channels": 4, "classes": 3, "mean": (0.4,), "std": (0.3,)}
IMAGES = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype(np.float32)


def operations(space):
    return tuple(name for name in SPACES[space].primitives if name != "none")


def paths(space):
    return path_network(operations(space), **SETTINGS)


def as_supernet(space, weights):
    """The weights of a path network as those of the supernet of the same space, which stacks them by the source of an edge."""
    every, result = list(edges(NODES)), dict(weights)
    for name, cell in weights.items():
        if not name.startswith("cell_"):
            continue
        fans = {part: values for part, values in cell.items() if part.startswith("preprocess")}
        for sources in ((0, 1), (2,)):
            targets = [target for source, target in every if source == sources[0]]
            rows = [[every.index((source, target)) for target in targets] for source in sources]
            kinds = sorted((p, i) for p in operations(space) if OPERATIONS[p].family == "depthwise" for i in range(len(targets)))
            twice, once = ([kind for kind in kinds if OPERATIONS[kind[0]].repeats == n] for n in (2, 1))
            fan = {}
            for stage, group in ((0, twice + once), (1, twice)):
                word = ("first", "second")[stage]
                taps = [np.stack([cell[f"{p}_depthwise_{stage}"][row[i]] for row in rows], 1) for p, i in group]
                points = [np.stack([cell[f"{p}_pointwise_{stage}"][row[i]] for row in rows]) for p, i in group]
                fan |= {f"{word}_depthwise": np.concatenate(taps), f"{word}_pointwise": np.stack(points, 1)}
            if "skip_connect_even" in cell and sources == (0, 1):
                fan["skip_connect"] = {side: cell[f"skip_connect_{side}"][np.array(rows)] for side in ("even", "odd")}
            fans[f"from_{'_'.join(map(str, sources))}"] = fan
        result[name] = fans
    return result


def codes(coding, count, seed):
    """Uniform ones, [code, position]."""
    return np.asarray(jax.jit(lambda key: uniform(key, count, coding.choices))(jax.random.key(seed)))


def results(net):
    """(variables, sub-network) -> logits by batch statistics, gradients by the images and logits by frozen ones, compiled."""

    def function(variables, sub_network):
        def apply(images, statistics, **more):
            return net.apply({**variables, **more}, images, sub_network, statistics, mutable=["moments"])

        logits, moments = apply(IMAGES, "batch")

        def first(images):
            logits = apply(images, "frozen", **moments)[0]
            return logits[:, 0].sum(), logits

        return logits, *jax.grad(first, has_aux=True)(IMAGES[:2])

    return jax.jit(function)


@functools.cache
def both(space):
    """Variables and results of the path network, and of the supernet with the same weights."""
    nets = paths(space), spaces.supernet(space, **SETTINGS)
    key = jax.random.key(1, impl="rbg")
    drawn, shapes = jax.jit(nets[0].init)(key, IMAGES[:1]), jax.eval_shape(nets[1].init, key, IMAGES[:1])
    ours = {name: jax.tree.map(np.asarray, drawn[name]) for name in ("params", "batch_stats")}
    stacked = as_supernet(space, ours["params"])
    assert jax.tree.map(np.shape, stacked) == jax.tree.map(np.shape, shapes["params"])
    statistics = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes["batch_stats"])  # running ones, which none uses
    return ours, results(nets[0]), {"params": stacked, "batch_stats": statistics}, results(nets[1])


@pytest.mark.parametrize(
    ("space", "coding"),
    [
        pytest.param("darts", CellCoding(NODES, SPACES["darts"].primitives, CELLS), marks=pytest.mark.slow),
        ("robnet", RobNetCoding(NODES, CELLS, False)),
    ],
)
def test_a_path_is_the_supernet_with_weight_one_on_its_operations(space, coding):
    variables, of_path, others, of_mixture = both(space)
    decoded = jax.jit(lambda code: (coding.path(code), coding.mixtures(code)))
    for code in codes(coding, 3, seed=0):
        path, mixtures = decoded(code)
        ours, theirs = of_path(variables, path), of_mixture(others, mixtures)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_weights_of_operations_that_are_not_on_the_path_have_no_gradient():
    variables, *_ = both("darts")
    chosen = operations("darts").index("sep_conv_3x3")
    path = Path(jnp.array([[0, 2]] * CELLS), jnp.array([[chosen, chosen]] * CELLS))

    def loss(params):
        logits, _ = paths("darts").apply({**variables, "params": params}, IMAGES, path, "batch", mutable=["moments"])
        return jnp.square(logits).sum()

    cell = jax.jit(jax.grad(loss))(variables["params"])["cell_0"]
    moved = {
        name: np.flatnonzero(np.abs(leaf).sum(axis=tuple(range(1, leaf.ndim)))) for name, leaf in cell.items() if "conv" in name
    }
    assert {name: rows.tolist() for name, rows in moved.items() if len(rows)} == {
        f"sep_conv_3x3_{part}_{stage}": [0, 2] for part in ("depthwise", "pointwise") for stage in (0, 1)
    }


@pytest.mark.parametrize("is_free", [False, True])
def test_a_robnet_code_costs_what_its_network_does(is_free):
    coding = RobNetCoding(NODES, CELLS, is_free)
    settings = {name: value for name, value in SETTINGS.items() if name != "nodes"}
    cost = jax.jit(lambda code: path_multiply_adds(paths("robnet"), (8, 8, 1), coding.path(code)))
    for code in codes(coding, 4, seed=3):
        architecture = coding.architecture(code)
        assert isinstance(architecture, genotypes.RobNet) and len(architecture.cells) == (CELLS if is_free else 1)
        expected = multiply_adds(derived_network(architecture, **settings), (8, 8, 1))
        np.testing.assert_allclose(cost(code), expected, rtol=1e-6)


def test_a_cell_code_costs_what_its_network_does():
    coding = CellCoding(NODES, SPACES["darts"].primitives, CELLS)
    settings = {name: value for name, value in SETTINGS.items() if name != "nodes"}
    (code,) = codes(coding, 1, seed=4)
    expected = multiply_adds(derived_network(coding.architecture(code), **settings), (8, 8, 1))
    cost = jax.jit(lambda code: path_multiply_adds(paths("darts"), (8, 8, 1), coding.path(code)))
    np.testing.assert_allclose(cost(code), expected, rtol=1e-6)


def test_a_robnet_code_without_an_edge_into_a_node_gets_a_convolution():
    coding = RobNetCoding(2, 3, False)
    assert coding.architecture(np.zeros(5, int)).cells == (("01", "00", "01", "00", "00"),)
    assert coding.architecture(np.array([0, 2, 0, 0, 3])).cells == (("00", "10", "00", "00", "11"),)
    path = jax.jit(coding.path)(np.zeros(5, np.int32))
    np.testing.assert_array_equal(np.asarray(path.operations)[0], [-1, 1, -1, -1, -1, 1, -1, -1, -1, -1])


def test_paths_refuse_operations_that_they_do_not_have():
    with pytest.raises(InputError, match="conv_7x1_1x7"):
        path_network(["conv_7x1_1x7"], **SETTINGS)


def moved(functions, state, train, val):
    """The compiled steps of a search, one after the other: gradients' norms, and weights and alphas after them."""

    def steps(state, train, val):
        state, of_alphas = functions.alpha_step(state, train, val, jax.random.key(3))
        state, of_weights = functions.weight_step(state, train, jax.random.key(4))
        return of_alphas | of_weights, state.weights, state.alphas

    return jax.jit(steps)(state, train, val)


@pytest.mark.slow
def test_a_search_that_computes_the_drawn_operations_alone_moves_as_one_that_masks_the_others():
    """The objective is the loss and R; the Hessian is in both that of mixtures of all operations."""
    config = SearchConfig(
        space="robnet", cells=3, channels=4, nodes=1, metric="jacobian", gamma=0.1, mixture="hard_gumbel", temperature_start=5.0,
        temperature_end=5.0, batch_size=6, alpha_lr=0.1,
    )  # fmt: skip
    supernet = searched_network(config, (8, 8, 1), 3, (0.4,), (0.3,))
    assert supernet.draws
    drawing, masking = (search_functions(config, supernet.clone(draws=draws), (8, 8, 1), 10) for draws in (True, False))
    state = jax.jit(drawing.init)(jax.random.key(1, impl="rbg"))
    batches = [SearchBatch(jax.random.uniform(jax.random.key(i), (6, 8, 8, 1)), jnp.arange(6) % 3) for i in (5, 6)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        moved(drawing, state, *batches), moved(masking, state, *batches),
    )  # fmt: skip
    programs = [str(jax.make_jaxpr(f.eigenvalue)(state, batches[0], jax.random.key(7))) for f in (drawing, masking)]
    assert programs[0] == programs[1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True), ({"space": "s5"}, True), ({"space": "pcdarts"}, False), ({"metric": "certified"}, False),
        ({"resource_weight": 0.1}, False), ({"mixture": "gumbel"}, False), ({"perturbation": "uniform"}, False),
    ],
)  # fmt: skip
def test_a_search_computes_the_drawn_operations_alone_where_nothing_needs_the_others(changes, expected):
    assert draws_paths(SearchConfig(**{"space": "darts", "mixture": "hard_gumbel"} | changes)) == expected
