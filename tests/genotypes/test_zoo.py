"""Published architectures have the published numbers of weights, and --genotype finds whatever it may name."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.networks import network
from dsrna_jax.networks.derived import derived_network

COLOUR = {"mean": (0.5,) * 3, "std": (0.25,) * 3}

# name: weights with 20 cells and 36 channels for 10 classes, with 14 cells and 48 channels for 1000 (ImageNet's stem).
WEIGHTS = {
    "NASNet": (3_830_950, 5_564_320),
    "AmoebaNet": (3_145_078, 4_627_360),
    "DARTS_V1": (3_169_414, 4_510_432),
    "DARTS_V2": (3_349_342, 4_718_752),
    "PC_DARTS_cifar": (3_634_678, 5_270_560),
    "PC_DARTS_image": (3_721_510, 5_342_464),
    "PDARTS": (3_433_798, 4_944_352),
    "SNAS": (2_661_382, 3_939_328),
    "PNAS": (4_481_110, 6_394_912),
    "GDAS_V1": (3_368_782, 4_969_216),
    "SDARTS_RS": (3_606_166, 5_120_320),
    "SDARTS_ADV": (3_344_806, 4_768_864),
    "RNAS_H": (3_495_790, 5_028_640),
    "RNAS_L": (3_170_926, 4_714_720),
    "RACL": (3_571_174, 5_162_848),
    "ADVRUSH": (4_158_046, 5_772_928),
    "RobNet_large": (6_842_710, None),
    "RobNet_free": (5_439_790, None),
}


QUICK = ("NASNet", "PNAS", "PC_DARTS_cifar", "RobNet_free")  # of every kind of cell one


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in WEIGHTS])
def test_a_network_has_as_many_weights_as_the_published_one(name):
    net = derived_network(zoo.published(name), cells=20, channels=36, classes=10, auxiliary=True, **COLOUR)
    assert network.weight_count(net, (32, 32, 3)) == WEIGHTS[name][0]


@pytest.mark.parametrize("name", [pytest.param("AmoebaNet", marks=pytest.mark.slow), "PC_DARTS_image"])
def test_a_network_for_imagenet_has_as_many_weights_as_the_published_one(name):
    net = derived_network(zoo.published(name), cells=14, channels=48, classes=1000, start="imagenet", **COLOUR)
    assert network.weight_count(net, (224, 224, 3)) == WEIGHTS[name][1]


@pytest.mark.slow
def test_the_other_robnets_have_as_many_weights_as_counted_by_hand():
    large = zoo.published("RobNet_large")
    second = derived_network(large, cells=33, channels=64, classes=10, **COLOUR)
    assert network.weight_count(second, (32, 32, 3)) == 33_326_666
    imagenet = derived_network(large, cells=20, channels=48, classes=1000, start="imagenet", **COLOUR)
    assert network.weight_count(imagenet, (224, 224, 3)) == 12_756_448


@pytest.mark.parametrize("name", zoo.names())
def test_a_published_architecture_survives_json(name, tmp_path):
    architecture = zoo.published(name)
    assert genotypes.from_json(json.dumps(genotypes.to_json(architecture))) == architecture
    genotypes.save(architecture, tmp_path / "genotype.json")
    assert zoo.resolve(str(tmp_path)) == zoo.resolve(str(tmp_path / "genotype.json")) == architecture
    assert zoo.source(name)


@pytest.mark.skipif("DSRNA_SHARED" not in os.environ, reason="set DSRNA_SHARED to the folder that holds reference/genotypes.json")
def test_the_table_is_that_of_the_reference():
    reference = json.loads((Path(os.environ["DSRNA_SHARED"]) / "reference" / "genotypes.json").read_text())
    for name, cells in reference["cells"].items():
        assert zoo.published(name) == genotypes.from_json(cells), name
    assert zoo.published("RobNet_free").cells == tuple(map(tuple, reference["robnet"]["robnet_free"]))
    assert zoo.published("RobNet_large").cells == tuple(map(tuple, reference["robnet"]["robnet_large_v1"]))


def test_every_primitive_of_the_zoo_runs():
    """Also those that no search has: finite logits, which differ from example to example."""
    cell = [("conv_7x1_1x7", 0), ("noise", 1), ("conv_3x1_1x3", 2), ("sep_conv_7x7", 1)]
    architecture = genotypes.Genotype(cell, (2, 3), cell, (2, 3))
    net = derived_network(architecture, cells=3, channels=4, classes=5, mean=(0.5,), std=(0.25,))
    images = jax.random.uniform(jax.random.key(0), (3, 9, 8, 1))
    quickly = {"compiler_options": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}}
    variables = jax.jit(net.init, **quickly)(jax.random.key(1, impl="rbg"), images)
    apply = jax.jit(lambda rngs: net.apply(variables, images, rngs=rngs), **quickly)
    still, noisy = apply({}), apply({"noise": jax.random.key(2)})
    assert np.isfinite(still).all() and np.ptp(still, axis=0).min() > 0
    np.testing.assert_array_equal(still, apply({}))
    assert np.abs(noisy - still).max() > 1e-3


def test_crossed_convolution_is_two_library_ones():
    from dsrna_jax.networks.layers import Crossed

    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 9, 8))
    module = Crossed(7, 2, False)
    variables = module.init(jax.random.key(1), x, "batch")
    expected = jnp.moveaxis(jax.nn.relu(x[0]), 0, 1)
    for name, shape, strides in (("row", (1, 7), (1, 2)), ("column", (7, 1), (2, 1))):
        kernel = variables["params"][name][0].reshape(3, 7, 3).swapaxes(1, 2).reshape(3, 3, *shape)
        expected = jax.lax.conv_general_dilated(expected, kernel, strides, [(n // 2, n // 2) for n in shape])
    expected = (expected - expected.mean((0, 2, 3), keepdims=True)) / np.sqrt(expected.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(module.apply(variables, x, "batch")[0], jnp.moveaxis(expected, 0, 1), atol=2e-5)


def test_random_cells_differ_by_seed_and_read_two_nodes():
    drawn = [zoo.resolve(f"random:{seed}") for seed in range(20)]
    assert drawn == [zoo.random(seed) for seed in range(20)] and len(set(drawn)) == 20
    for architecture in drawn:
        for genes in (architecture.normal, architecture.reduction):
            assert all(a[1] != b[1] for a, b in zip(genes[::2], genes[1::2], strict=True))
            assert not any(name == "none" for name, _ in genes)


def test_aliases_name_published_cells_and_the_list_has_all_names():
    assert zoo.published("c10_s5_random") == zoo.published("SDARTS_RS")
    assert all(name in zoo.listing() for name in zoo.names())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DARTS_V3", "did you mean DARTS_V2"),
        ("random:x", "expected random:SEED"),
        ("random:", "expected random:SEED"),
        ("", "expected one of these or random:SEED"),
        ("nowhere/genotype.json", "cannot read a genotype from nowhere/genotype.json"),
        ("{0}/broken.json", "expected JSON"),
        ("{0}/cells.json", "unknown operation 'sep_conv_9x9'"),
        ("{0}/source.json", "its source is one of 0 to 1"),
        ("{0}/code.json", "is '12': expected one of 00, 01, 10, 11"),
        ("{0}", "cannot read a genotype"),
    ],
)
def test_what_is_no_architecture_is_refused(tmp_path, text, expected):
    (tmp_path / "broken.json").write_text('{"robnet": ')
    cell = {"normal_concat": [2], "reduction_concat": [2], "reduction": [["skip_connect", 0]] * 2}
    (tmp_path / "cells.json").write_text(json.dumps(cell | {"normal": [["sep_conv_9x9", 0]] * 2}))
    (tmp_path / "source.json").write_text(json.dumps(cell | {"normal": [["skip_connect", 2]] * 2}))
    (tmp_path / "code.json").write_text('{"robnet": [["12", "01"]]}')
    with pytest.raises(InputError) as error:
        zoo.resolve(text.format(tmp_path))
    assert expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("cells", [[], "11", [["11"]], [["00", "00"]], [["11", "11"], ["11"] * 5]])
def test_what_is_no_code_of_robnet_is_refused(cells):
    with pytest.raises(InputError):
        genotypes.from_json({"robnet": cells})


def test_a_robnet_of_codes_for_every_cell_has_that_depth():
    with pytest.raises(InputError, match="expected cells=20"):
        derived_network(zoo.published("RobNet_free"), cells=19, channels=36, classes=10, **COLOUR)
    assert RobNet([["11", "01"]]).branches(7) == (
        (("sep_conv_3x3", 0), 2), (("skip_connect", 0), 2), (("sep_conv_3x3", 1), 2)
    )  # fmt: skip
