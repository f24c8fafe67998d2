"""The derived network in training: repeated cells, the auxiliary head, dropped branches, ImageNet's stem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.networks import network
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.multiplications import of_part
from dsrna_jax.networks.plan import Part, equal_runs
from dsrna_jax.networks.stem import AuxiliaryHead, _ends

CELL = (("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 1), ("dil_conv_3x3", 2))
GENOTYPE = Genotype(CELL, (2, 3), CELL, (2, 3))
SETTINGS = {"channels": 4, "classes": 5, "mean": (0.4,), "std": (0.3,)}
DEEP = derived_network(GENOTYPE, cells=5, auxiliary=True, **SETTINGS)


def drawn(net, images):
    """Variables of a network, such that signals reach its end."""
    generator, shapes = np.random.default_rng(0), jax.eval_shape(net.init, jax.random.key(1), images)
    weights = jax.tree.map(lambda s: generator.normal(size=s.shape).astype(np.float32), shapes["params"])
    stats = jax.tree.map(lambda s: generator.uniform(0.5, 2, size=s.shape).astype(np.float32), shapes["batch_stats"])
    return {"params": weights, "batch_stats": stats}


@pytest.fixture(scope="module")
def deep():
    """Variables of `DEEP`, and images."""
    images = np.random.default_rng(1).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    return drawn(DEEP, images), images


def test_equal_runs_join_cells_of_equal_layout():
    assert equal_runs(DEEP.layouts) == [(i, 1) for i in range(5)]
    deeper = derived_network(GENOTYPE, cells=20, **SETTINGS)
    assert [run for run in equal_runs(deeper.layouts) if run[1] > 1] == [(2, 4), (8, 5), (15, 5)]
    reduction = Genotype(CELL, (2, 3), CELL, (3,))  # its output has fewer channels than that of a normal cell
    runs = equal_runs(derived_network(reduction, cells=20, **SETTINGS).layouts)
    assert [run for run in runs if run[1] > 1] == [(2, 4), (9, 4), (16, 4)]


@pytest.fixture(scope="module")
def twelve():
    cell = (("dil_conv_3x3", 0), ("skip_connect", 1))
    net = derived_network(Genotype(cell, (2,), cell, (2,)), cells=12, **SETTINGS)
    images = np.random.default_rng(1).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    variables = quick(net.init)(jax.random.key(1, impl="rbg"), images)
    return net, variables, images


def test_repeated_cells_are_those_cells_one_after_the_other(twelve):
    """Outputs and updated statistics of the scan equal those of the same cells, each with its slice of the variables."""
    net, variables, images = twelve
    assert "cells_2" in variables["params"] and "cells_6" in variables["params"]
    whole = quick(lambda: net.apply(variables, images))()

    def one_by_one():
        before, last = net.apply(variables, images, method="stem")
        for i in range(net.cells):
            before, last = last, net.apply(variables, i, before, last, method="cell")
        return net.apply(variables, last, method="head")

    np.testing.assert_allclose(whole, quick(one_by_one)(), rtol=1e-4, atol=1e-5)
    own = jax.tree.leaves(variables["params"]["cells_6"])
    assert all(len(leaf) == 2 for leaf in own)
    assert any(np.abs(leaf[0] - leaf[1]).max() > 0 for leaf in own)  # each cell begins with weights of its own


@pytest.mark.slow
def test_repeated_cells_keep_their_own_statistics(twelve):
    net, variables, images = twelve
    _, updated = quick(lambda: net.apply(variables, images, None, "batch", mutable=["batch_stats", "moments"]))()
    stats = jax.tree.leaves(updated["batch_stats"]["cells_6"])
    assert all(len(leaf) == 2 for leaf in stats)
    assert any(np.abs(leaf[0] - leaf[1]).max() > 1e-6 for leaf in stats)
    frozen = {**variables, "moments": updated["moments"]}
    batch = quick(lambda: net.apply(variables, images, None, "batch"))()
    np.testing.assert_allclose(quick(lambda: net.apply(frozen, images, None, "frozen"))(), batch, rtol=1e-4, atol=1e-4)


def test_paths_of_one_change_nothing_and_dropped_ones_do(deep):
    variables, images = deep
    apply = quick(lambda paths: DEEP.apply(variables, images, None, "running", paths))
    paths = np.ones((5, 4, 3), np.float32)
    plain = np.asarray(quick(lambda: DEEP.apply(variables, images))())
    scale = np.abs(plain).max()
    np.testing.assert_allclose(apply(paths), plain, atol=1e-5 * scale)
    paths[2, 0, 1] = 0  # the first branch of cell 2, in example 1 alone
    lost = np.asarray(apply(paths))
    assert np.abs(lost - plain)[1].max() > 1e-2 * scale and np.abs(lost - plain)[[0, 2]].max() < 1e-5 * scale


@pytest.mark.slow
def test_each_repeated_cell_drops_branches_of_its_own(twelve):
    """A branch that is lost in the second of two equal cells changes the logits of its example, and not as in the first."""
    net, _, images = twelve
    variables = drawn(net, images)
    apply = quick(lambda paths: net.apply(variables, images, None, "running", paths))
    ones = jnp.ones((12, 2, 3))
    plain, first, second = apply(ones), apply(ones.at[6, 0, 1].set(0)), apply(ones.at[7, 0, 1].set(0))
    scale = np.abs(plain).max()
    np.testing.assert_allclose(quick(lambda: net.apply(variables, images))(), plain, atol=1e-4 * scale)
    for lost in (first, second):
        assert np.abs(lost - plain)[1].max() > 1e-2 * scale and np.abs(lost - plain)[[0, 2]].max() < 1e-4 * scale
    assert np.abs(first - second)[1].max() > 1e-2 * scale


def test_drop_paths_keep_the_mean_and_never_drop_identities():
    paths = np.asarray(network.drop_paths(DEEP, jax.random.key(0), 0.3, 2000))
    assert set(np.unique(paths)) == {0.0, np.float32(1 / 0.7), 1.0}
    identities = np.array([[layout.plan.branches[i].primitive == "skip_connect" for i in range(4)] for layout in DEEP.layouts])
    identities &= ~np.array([layout.reduction for layout in DEEP.layouts])[:, None]  # in those the skip halves the map
    np.testing.assert_array_equal((paths == 1).all(-1), identities)
    np.testing.assert_allclose(paths.mean(-1), 1, atol=0.08)
    np.testing.assert_array_equal(network.drop_paths(DEEP, jax.random.key(0), 0.0, 5), 1)


def test_both_heads_give_logits_and_only_the_first_counts_as_weights(deep):
    variables, images = deep
    logits, auxiliary = jax.eval_shape(lambda: DEEP.apply(variables, images, method="both_heads"))
    assert logits.shape == auxiliary.shape == (3, 5)
    without = derived_network(GENOTYPE, cells=5, **SETTINGS)
    assert jax.eval_shape(lambda: without.apply(variables, images)).shape == (3, 5)
    assert network.weight_count(DEEP, (8, 8, 1)) == network.weight_count(without, (8, 8, 1))


def ends(size):
    return np.asarray(jax.jit(lambda: _ends(size, jnp.float32))())


@pytest.mark.parametrize(("size", "stride"), [(8, 3), (7, 2)])
def test_the_auxiliary_pool_is_the_published_one(size, stride):
    x = np.random.default_rng(0).normal(size=(size,))
    windows = [x[start : start + 5].mean() for start in range(0, size - 4, stride)]
    np.testing.assert_allclose(x @ ends(size), windows, rtol=1e-5)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 9, 16, 31])
def test_the_auxiliary_pool_sees_every_pixel(size):
    shares = ends(size)
    assert (shares.sum(1) > 0).all() and (shares[0] > 0).tolist() == [True, False]
    np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-6)


def test_the_auxiliary_head_refuses_a_single_pixel():
    head = AuxiliaryHead(10)
    with pytest.raises(InputError, match="at least 2x2.*auxiliary_weight=0"):
        jax.eval_shape(lambda: head.init(jax.random.key(0), jnp.zeros((8, 2, 1, 3)), "batch"))


@pytest.mark.parametrize(("start", "sides"), [("cifar", (64, 64)), ("cifar_halved", (32, 32)), ("imagenet", (16, 8))])
def test_stems_give_maps_of_the_published_sides(start, sides):
    net = derived_network(GENOTYPE, cells=5, start=start, **SETTINGS)
    images = np.zeros((2, 64, 64, 1), np.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    before, last = jax.eval_shape(lambda v: net.apply(v, images, method="stem"), variables)
    assert (before.shape[-1], last.shape[-1]) == sides
    assert jax.eval_shape(lambda v: net.apply(v, images), variables).shape == (2, 5)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("cifar", 9 * 3 * 12 * 32**2),
        ("cifar_halved", 9 * 3 * 12 * 16**2),
        ("imagenet", 9 * (3 * 6 * 16**2 + 6 * 12 * 8**2 + 12 * 12 * 4**2)),
    ],
)
def test_multiply_adds_of_stems_are_those_of_their_convolutions(start, expected):
    assert of_part(Part(f"stem_{start}", 3, 12, 32, 32)) == expected
