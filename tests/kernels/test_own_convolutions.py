"""Functions whose convolutions are replaced compute the same, with the same derivatives."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from quick import quick

from dsrna_jax import attacks
from dsrna_jax.kernels.own_convolutions import with_own_convolutions

X = np.random.default_rng(0).uniform(size=(3, 8, 8, 4)).astype(np.float32)
KERNELS = np.random.default_rng(1).normal(size=(2, 3, 3, 4, 4)).astype(np.float32) / 6


class Network(nn.Module):
    """Convolutions of all kinds: plain, with strides, of each channel, by groups, transposed."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.gelu(nn.Conv(4, (3, 3), feature_group_count=4)(x))
        x = nn.relu(nn.Conv(6, (3, 3), feature_group_count=2, kernel_dilation=(2, 1))(x))
        x = nn.ConvTranspose(3, (3, 3), strides=(2, 2))(x)
        return nn.Dense(5)(x.reshape(len(x), -1))


def network():
    weights = Network().init(jax.random.key(0), X)
    return lambda x: Network().apply(weights, x)


def convolved(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


CALLS = {
    "plain": lambda x: convolved(x, KERNELS[0]),
    "jit": jax.jit(lambda x: convolved(x, KERNELS[0])),
    "jit of jit": jax.jit(lambda x: jnp.sin(jax.jit(convolved)(x, KERNELS[0]))),
    "checkpoint": jax.checkpoint(lambda x: jnp.sin(convolved(x, KERNELS[0]))),
    "scan": lambda x: lax.scan(lambda c, k: (jnp.tanh(convolved(c, k)), c.sum()), x, KERNELS),
    "cond": lambda x: lax.cond(x.sum() > 0, lambda x: convolved(x, KERNELS[0]), lambda x: x, x),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, convolved(c[1], KERNELS[0])), (0, x)),
    "vmap": lambda x: jax.vmap(lambda y: convolved(y[None], KERNELS[0])[0])(x),
    "spread image": lambda x: lax.conv_general_dilated(
        x, KERNELS[0], (1, 1), ((2, 1), (-1, 3)), (2, 3), (1, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "names of channels": lambda x: lax.conv_general_dilated(
        jnp.moveaxis(x, -1, 0), KERNELS[0], (2, 1), "VALID", dimension_numbers=("CNHW", "HWIO", "NHCW")
    ),
}


def count(f, name):
    return str(jax.make_jaxpr(f)(X)).count(f"{name}[")


@pytest.mark.parametrize("call", CALLS)
def test_calls_of_convolutions_compute_the_same_by_our_own(call):
    f = CALLS[call]
    own = with_own_convolutions(f)
    chex.assert_trees_all_close(quick(own)(X), quick(f)(X), rtol=1e-4, atol=1e-5)
    assert count(f, "conv_general_dilated") > 0 == count(own, "conv_general_dilated")
    if call != "while":  # which has no reverse mode
        total = lambda f: lambda x: sum(jnp.sum(jnp.sin(part)) for part in jax.tree.leaves(f(x)))  # noqa: E731
        gradients = [quick(jax.grad(total(g)))(X) for g in (own, f)]
        chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-5)


def test_a_network_of_all_kinds_of_convolutions_has_the_same_logits_and_gradients():
    f = network()
    own = with_own_convolutions(f)
    chex.assert_trees_all_close(quick(own)(X), quick(f)(X), rtol=1e-4, atol=1e-5)
    gradients = [quick(jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2)))(X) for f in (own, f)]
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-5)
    assert count(own, "conv_general_dilated") == 1  # by groups of two channels


def test_convolutions_of_whole_numbers_wrap_around_as_the_library_lets_them():
    image, kernel = np.full((1, 2, 2, 1), 2**30, np.int32), np.full((2, 2, 1, 1), 3, np.int32)
    chex.assert_trees_all_equal(*(f(image, kernel) for f in (with_own_convolutions(convolved), convolved)))


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 1), "padding": ((0, 0), (1, 1)), "lhs_dilation": (2, 2)},
        {"window_strides": (1, 1), "padding": "VALID", "feature_group_count": 2},
        {"window_strides": (2, 1), "padding": "SAME", "feature_group_count": 4},
    ],
    ids=["strides of a spread image", "groups of two", "unequal strides of each channel"],
)
def test_other_convolutions_stay_those_of_the_library(options):
    kernel = KERNELS[0][:, :, : 4 // options.get("feature_group_count", 1)]

    def f(x):
        return lax.conv_general_dilated(x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)

    own = with_own_convolutions(f)
    chex.assert_trees_all_equal(quick(own)(X), quick(f)(X))
    assert count(own, "conv_general_dilated") == 1


def test_weights_that_are_traced_outside_keep_their_derivatives():
    def loss(f, kernel):
        own = with_own_convolutions(lambda x: convolved(x, kernel)) if f == "own" else lambda x: convolved(x, kernel)
        return jnp.sum(jnp.sin(own(X)))

    gradients = [quick(jax.grad(lambda k, f=f: loss(f, k)))(KERNELS[0]) for f in ("own", "theirs")]
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("call", ["plain", "jit", "checkpoint", "scan", "vmap"])
def test_functions_are_rewritten_where_each_device_has_examples_of_its_own(call):
    """JAX keeps account there of which arrays differ among devices, also if there is but one."""
    f = CALLS[call]
    mesh, part = jax.sharding.Mesh(jax.devices()[:1], ("data",)), jax.sharding.PartitionSpec("data")

    def total(x):
        return jax.tree.map(jnp.sin, jax.tree.leaves(with_own_convolutions(f)(x))[0])

    apart = jax.shard_map(total, mesh=mesh, in_specs=part, out_specs=part)
    chex.assert_trees_all_close(quick(apart)(X), quick(total)(X), rtol=1e-5, atol=1e-6)


def test_a_function_with_a_derivative_of_its_own_keeps_it():
    @jax.custom_jvp
    def f(x):
        return convolved(x, KERNELS[0])

    f.defjvp(lambda primals, tangents: (f(*primals), 7.0 * tangents[0]))
    chex.assert_trees_all_close(jax.grad(lambda x: with_own_convolutions(f)(x).sum())(X), np.full_like(X, 7.0))


def test_attacks_use_no_convolution_of_the_library_in_their_loops():
    """XLA compiles those of autodiff's derivatives to slow loops on a CPU."""
    kernel = np.random.default_rng(2).normal(size=(3, 3, 4, 5)).astype(np.float32)

    def logits_fn(x):
        return convolved(x, kernel).mean((1, 2))

    labels = np.zeros(len(X), int)
    options = {"radius": 0.1, "norm": "linf"}, {"radius": jnp.inf, "norm": "l2"}
    kinds = {attacks.pgd: 0, attacks.apgd: 0, attacks.fab: 0, attacks.square: 0, attacks.cw: 1, attacks.ddn: 1}
    for attack, kind in kinds.items():
        f = functools.partial(attack, logits_fn, labels=labels, key=jax.random.key(0), steps=2, **options[kind])
        assert count(f, "convolution") > 0 == count(f, "conv_general_dilated"), attack.__name__
