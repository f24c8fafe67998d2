"""Networks of blocks: a derived one is the supernet with one-hot shares; what is counted, drawn at random, saved and refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds, genotypes, plots
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.block_genotype import BlockGenotype, derive_blocks, has_shortcut, possible
from dsrna_jax.genotypes.operations import BLOCK_OPERATIONS, OPERATIONS
from dsrna_jax.networks import spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.networks.multiplications import expected_multiply_adds, multiply_adds
from dsrna_jax.search import mixing
from dsrna_jax.search.config import SearchConfig

SETTINGS = {"cells": 4, "channels": 4, "classes": 3, "mean": (0.4,), "std": (0.3,)}
GENOTYPE = BlockGenotype(("mbconv_5x5_e3", "mbconv_3x3_e6", "mbconv_7x7_e3", "skip_connect"))
IMAGES = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype(np.float32)


def supernet():
    return spaces.supernet("proxyless", nodes=4, **SETTINGS)


def shares_of(genotype):
    return {"blocks": np.float32([[name == chosen for name in BLOCK_OPERATIONS] for chosen in genotype.blocks])}


def derived_weights(weights, genotype):
    """The weights of a supernet that its derived network has: those of one operation of each block, out of those side by side."""
    result = {name: value for name, value in weights.items() if not name.startswith("cell_")}
    for index, chosen in enumerate(genotype.blocks):
        if chosen == "skip_connect":
            continue
        own, names = weights[f"cell_{index}"]["inverted"], BLOCK_OPERATIONS[1:]
        place, entering = names.index(chosen), own["widen"].shape[1]
        widths = [OPERATIONS[name].expansion * entering for name in names]
        start, side = sum(widths[:place]), place // 2
        inside = start - sum(widths[: 2 * side])
        result[f"cell_{index}"] = {
            "inverted": {
                "widen": own["widen"][start : start + widths[place]],
                "filter_0": own[f"filter_{side}"][:, inside : inside + widths[place]],
                "project_0": own[f"project_{place}"],
            }
        }
    return result


def test_a_derived_network_is_the_supernet_with_shares_of_one_operation():
    net, derived = supernet(), derived_network(GENOTYPE, affine=False, **SETTINGS)
    variables = jax.tree.map(np.asarray, jax.jit(net.init)(jax.random.key(1, impl="rbg"), IMAGES[:1]))
    mixtures = spaces.mixtures({}, 4, BLOCK_OPERATIONS, shares_of(GENOTYPE), space="proxyless")
    shapes = jax.eval_shape(derived.init, jax.random.key(0), IMAGES[:1])
    weights = derived_weights(variables["params"], GENOTYPE)
    assert jax.tree.map(jnp.shape, weights) == jax.tree.map(jnp.shape, shapes["params"])
    own = {"params": weights, "batch_stats": jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes["batch_stats"])}
    ours, _ = jax.jit(lambda: derived.apply(own, IMAGES, None, "batch", mutable=["moments"]))()
    theirs, _ = jax.jit(lambda: net.apply(variables, IMAGES, mixtures, "batch", mutable=["moments"]))()
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_multiply_adds_are_those_of_the_convolutions_counted_by_hand():
    stem, head = 9 * 12 * 64, 16 * 3
    first = 36 * (12 * 64 + (25 + 4) * 64)  # 12 -> 4 channels
    second = 24 * (4 * 64 + (9 + 8) * 16)  # 4 -> 8 channels, half the side
    third = 24 * (8 * 16 + (49 + 16) * 4)  # 8 -> 16
    derived = derived_network(GENOTYPE, **SETTINGS)
    assert multiply_adds(derived, (8, 8, 1)) == stem + first + second + third + head
    mixtures = spaces.mixtures({}, 4, BLOCK_OPERATIONS, shares_of(GENOTYPE), space="proxyless")
    assert expected_multiply_adds(supernet(), (8, 8, 1), mixtures) == multiply_adds(derived, (8, 8, 1))


def test_a_skipped_block_is_its_shortcut_and_bounds_hold_for_the_rest():
    derived = derived_network(GENOTYPE, **SETTINGS)
    variables = quick(derived.init)(jax.random.key(1, impl="rbg"), IMAGES[:1])
    function = NetworkFunction(derived, variables)
    generator = np.random.default_rng(2)
    maps = generator.normal(size=(16, 6, 2, 2)).astype(np.float32)
    np.testing.assert_array_equal(function.cells[3](maps, maps), maps)
    lower = quick(lambda x: bounds.margin(function, x, np.zeros(6, int), radius=0.01, method="ibp"))(IMAGES)
    apply = quick(lambda x: function(x))
    for _ in range(4):
        noise = generator.uniform(-0.01, 0.01, size=IMAGES.shape).astype(np.float32)
        logits = np.asarray(apply(np.clip(IMAGES + noise, 0, 1)))
        assert (logits[:, 0] - logits[:, 1:].max(1) >= lower).all()


def test_binary_shares_are_one_hot_with_the_derivative_of_the_softmax():
    kept = possible(4, BLOCK_OPERATIONS)

    @jax.jit
    def shares_and_derivatives(alphas):
        noise, left = mixing.gumbel_noise(jax.random.key(1), {"blocks": alphas}), {"blocks": jnp.asarray(kept)}
        binary = lambda alphas: mixing.binary_shares({"blocks": alphas}, 1.0, noise, left)["blocks"]  # noqa: E731
        soft = lambda alphas: mixing.shares({"blocks": alphas}, 1.0, None, left)["blocks"]  # noqa: E731
        return binary(alphas), jax.jacobian(binary)(alphas), jax.jacobian(soft)(alphas)

    alphas = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    drawn, ours, soft = map(np.asarray, shares_and_derivatives(alphas))
    assert set(np.unique(drawn)) == {0, 1} and (drawn.sum(1) == 1).all() and not drawn[~kept].any()
    np.testing.assert_allclose(ours, soft, atol=1e-7)


def test_derived_blocks_have_the_largest_alphas_that_fit_their_shape():
    logits = np.zeros((6, 7))
    logits[:, 0], logits[3, 5], logits[2, 4] = 2, 3, 1
    found = derive_blocks({"blocks": logits}, BLOCK_OPERATIONS)
    expected = ["skip_connect" if has_shortcut(index, 6) else BLOCK_OPERATIONS[1] for index in range(6)]
    expected[3], expected[2] = BLOCK_OPERATIONS[5], BLOCK_OPERATIONS[4]
    assert list(found.blocks) == expected
    assert [index for index in range(6) if not has_shortcut(index, 6)] == [0, 2, 4]
    with pytest.raises(FloatingPointError, match="not finite"):
        derive_blocks({"blocks": np.full((6, 7), np.nan)}, BLOCK_OPERATIONS)
    kept = np.arange(6)[:, None] != np.full(7, 4)
    with pytest.raises(InputError, match="block 4 has no operation to choose"):
        derive_blocks({"blocks": logits}, BLOCK_OPERATIONS, {"blocks": kept})


def test_a_block_genotype_is_saved_and_drawn(tmp_path):
    genotypes.save(GENOTYPE, tmp_path / "genotype.json")
    assert genotypes.load(tmp_path / "genotype.json") == GENOTYPE
    (axes,) = plots.cells(GENOTYPE, tmp_path / "cells.png", title="blocks").axes
    assert {text.get_text() for text in axes.texts} >= {*GENOTYPE.blocks, "stem", "head"}
    history = [{"blocks": np.random.default_rng(epoch).normal(size=(4, 7))} for epoch in range(3)]
    figure = plots.alphas_over_time([0, 1, 2], history, primitives=BLOCK_OPERATIONS, genotype=GENOTYPE)
    assert [axes.get_title("left") for axes in figure.axes] == [f"block {index}" for index in range(4)]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (["mbconv_3x3_e3"] * 2, "3 or more blocks"),
        (["sep_conv_3x3"] * 3, "unknown operation 'sep_conv_3x3' of block 0"),
        (["mbconv_3x3_e3", "skip_connect", "mbconv_3x3_e3"], "block 1 of 3 changes side or channels"),
    ],
)
def test_blocks_that_describe_no_network_are_refused(blocks, message):
    with pytest.raises(InputError, match=message):
        BlockGenotype(blocks)


@pytest.mark.parametrize("changes", [{"stages": "3:7:0"}, {"most_skips": 2}, {"keep": "all"}, {"operations": "0,1"}])
def test_options_of_cells_are_refused_in_one_line(changes):
    with pytest.raises(InputError, match="is of cells, which space=proxyless lacks"):
        dataclasses.replace(SearchConfig(space="proxyless"), **changes)


def test_a_genotype_of_another_depth_is_refused():
    with pytest.raises(InputError, match="has 4 blocks: expected cells=4"):
        derived_network(GENOTYPE, **SETTINGS | {"cells": 8})
