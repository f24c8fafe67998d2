"""Operations are records: adding one reaches networks, costs and pictures; and all of them scale with their inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex

from dsrna_jax import plots
from dsrna_jax.genotypes import operations
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.genotypes.operations import OPERATIONS, Operation
from dsrna_jax.genotypes.search_spaces import SPACES, SearchSpace
from dsrna_jax.networks import spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.families import FAMILIES, Family
from dsrna_jax.networks.fan import Fan
from dsrna_jax.networks.maps import Kind, Maps
from dsrna_jax.networks.multiplications import multiply_adds
from dsrna_jax.networks.path import PathCell
from dsrna_jax.networks.path_operations import PathOperation
from dsrna_jax.networks.shifts import scaled_shifts, shift

SETTINGS = {"cells": 3, "channels": 4, "classes": 2, "mean": (0.5,), "std": (0.25,)}
SHAPE = (8, 8, 1)


def negated(fan, x, kinds, statistics):
    """-x, one map for all branches."""
    return [Maps(-x[:, None, ..., :: fan.stride, :: fan.stride], (tuple(kinds),))]


def negated_on_a_path(operation, x, weights, stride, norm):
    return -x[..., ::stride, ::stride]


def square_multiply_adds(operation, entering, leaving, size, output_size, stride):
    return 1000 * stride


@pytest.fixture
def added(monkeypatch):
    """An operation of a known family, and one of a new family."""
    monkeypatch.setitem(FAMILIES, "negation", Family(negated, square_multiply_adds, on_paths=PathOperation(negated_on_a_path)))
    for operation in (
        Operation("dil_conv_3x3_3", "depthwise", "#112233", side=3, dilation=3),
        Operation("negation", "negation", "#445566"),
    ):
        monkeypatch.setitem(OPERATIONS, operation.name, operation)


@pytest.mark.usefixtures("added")
def test_an_added_operation_is_built_counted_and_drawn():
    genes = (("negation", 0), ("dil_conv_3x3_3", 1))
    genotype = Genotype(genes, (2,), genes, (2,))
    derived = derived_network(genotype, **SETTINGS)
    pools = (("max_pool_3x3", 0), ("max_pool_3x3", 1))
    free = multiply_adds(derived_network(Genotype(pools, (2,), pools, (2,)), **SETTINGS), SHAPE)
    per_pixel = [9 * c + c * c for c in (4, 8, 16)]
    expected = 64 * per_pixel[0] + 16 * per_pixel[1] + 4 * per_pixel[2] + 1000 * (1 + 2 + 2)
    assert multiply_adds(derived, SHAPE) - free == expected

    primitives = ("none", "negation", "dil_conv_3x3_3")
    supernet = spaces.supernet("darts", nodes=1, primitives=primitives, **SETTINGS)
    alphas = spaces.initial_alphas(jax.random.key(0), "darts", 1, primitives)
    mixtures = spaces.mixtures(alphas, 1, primitives)
    images = jnp.ones((2, *SHAPE))
    for net, mixture in ((derived, None), (supernet, mixtures)):
        init = functools.partial(net.init_with_output, jax.random.key(0))
        logits, variables = jax.eval_shape(init, images, mixture)
        assert logits.shape == (2, 2)
    assert variables["params"]["cell_0"]["from_0_1"]["first_depthwise"].shape == (9, 2, 4)

    (axes,) = plots.cells(genotype).axes
    assert {"#112233", "#445566"} <= {to_hex(patch.get_facecolor()) for patch in axes.patches}


@pytest.mark.usefixtures("added")
def test_a_fan_sums_what_a_new_family_computes():
    x = jnp.arange(32.0).reshape(2, 1, 1, 4, 4)
    fan = Fan((Kind("negation", 3), Kind("skip_connect", 3)), 1, affine=False, is_supernet=True)
    weights = jnp.array([[1.0, 0], [2, 5]])
    np.testing.assert_allclose(fan.apply({}, x, weights, "batch")[3], -x[0] + 3 * x[1])


@pytest.mark.usefixtures("added")
def test_a_path_computes_what_a_new_family_does():
    cell = PathCell(1, ("skip_connect", "negation"), 4, reduction=False, after_reduction=False)
    state, edge = jax.random.normal(jax.random.key(0), (4, 2, 3, 3)), jnp.array([1])
    init = jax.jit(lambda number: cell.init_with_output(jax.random.key(1), state, state, edge, number, None, "batch")[0])
    np.testing.assert_array_equal(init(jnp.array([1])), -init(jnp.array([0])))


def test_an_added_search_space_is_one_record(monkeypatch):
    monkeypatch.setitem(SPACES, "skips", SearchSpace(partial=2, primitives=("none", "skip_connect", "max_pool_3x3")))
    net = spaces.supernet("skips", nodes=1, **SETTINGS)
    assert net.partial == 2 and {b.primitive for b in net.plans[0].branches} == {"skip_connect", "max_pool_3x3"}
    alphas = jax.eval_shape(lambda: spaces.initial_alphas(jax.random.key(0), "skips", 1))
    assert {name: leaf.shape for name, leaf in alphas.items()} == {"normal": (2, 3), "reduction": (2, 3)}


def test_another_operation_of_a_known_name_is_refused():
    operations.register(OPERATIONS["noise"])
    with pytest.raises(ValueError, match="'noise'"):
        operations.register(Operation("noise", "skip", "#000000"))


def test_every_operation_has_a_family():
    assert {operation.family for operation in OPERATIONS.values()} <= set(FAMILIES)


@pytest.mark.parametrize("stride, is_supernet, statistics", [(1, False, "running"), (2, True, "frozen")])
def test_every_operation_scales_with_its_input_and_its_shifts(stride, is_supernet, statistics):
    """A layer with a shift that `scaled_shifts` does not know breaks bounds of rescaled networks."""
    kinds = tuple(Kind(name, target) for target, name in enumerate(OPERATIONS) if name != "none")
    fan = Fan(kinds, stride, affine=True, is_supernet=is_supernet)
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(1, 2, 2, 5, 5)), jnp.float32)
    shapes = jax.eval_shape(lambda: fan.init(jax.random.key(0), x, None, "batch"))
    moments = jax.eval_shape(lambda v: fan.apply(v, x, None, "batch", mutable=["moments"])[1], shapes)
    variables = jax.tree.map(lambda s: jnp.asarray(generator.uniform(0.5, 2, s.shape), jnp.float32), {**shapes, **moments})

    def outputs(variables, x):
        return fan.apply(variables, x, None, statistics)

    @jax.jit
    def both(variables, x):
        return outputs(scaled_shifts(variables, 3.0), 3 * x), outputs(variables, x)

    scaled, plain = both(variables, x)
    assert set(plain) == {kind.target for kind in kinds}
    for kind in kinds:
        np.testing.assert_allclose(scaled[kind.target], 3 * plain[kind.target], rtol=1e-4, err_msg=kind.primitive)


def test_a_shift_is_known_by_its_name():
    with pytest.raises(ValueError, match="'offset'"):
        shift(Fan((), 1, affine=False, is_supernet=False), jnp.zeros, (1,), name="offset")
