"""Recomputation of the maps of cells: the numbers of a step without it, but for rounding, in less memory."""

import chex
import jax
import jax.numpy as jnp
import pytest
from linear_run import TINY
from quick import quick

from dsrna_jax.networks import spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.runtime.memory import estimates, peak_bytes

SETTINGS = {"classes": 3, "mean": (0.5,), "std": (0.25,)}
PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
SUPERNET = spaces.supernet("pcdarts", nodes=1, cells=3, channels=8, primitives=PRIMITIVES, **SETTINGS)
DERIVED = derived_network(TINY, cells=15, channels=4, **SETTINGS)  # of loops over four equal cells, and others
IMAGES = jax.random.uniform(jax.random.key(0), (8, 12, 12, 1))


def arguments_of(net, jitted=quick):
    variables = jitted(net.init)(jax.random.key(1), IMAGES)
    alphas = spaces.initial_alphas(jax.random.key(2), "pcdarts", 1, PRIMITIVES) if net.is_supernet else {}
    return variables["params"], alphas, variables["batch_stats"]


def gradients(net):
    """The function (weights, alphas, statistics) -> (gradients, new statistics) of a loss."""

    def loss(weights, alphas, batch_stats):
        mixtures = spaces.mixtures(alphas, 1, PRIMITIVES) if alphas else None
        collections = {"params": weights, "batch_stats": batch_stats}
        logits, updated = net.apply(collections, IMAGES, mixtures, "batch", mutable=["batch_stats", "moments"])
        return jnp.sin(logits).sum(), updated

    return jax.grad(loss, argnums=(0, 1), has_aux=True)


@pytest.mark.parametrize("net", [SUPERNET, pytest.param(DERIVED, marks=pytest.mark.slow)], ids=["supernet", "derived"])
def test_gradients_and_statistics_are_the_same_in_less_memory(net):
    plain, saving, arguments = gradients(net), gradients(net.clone(remat=True)), arguments_of(net)
    chex.assert_trees_all_equal_shapes(*(jax.eval_shape(n.init, jax.random.key(1), IMAGES) for n in (net, net.clone(remat=True))))
    kept, computed = (quick(f).lower(*arguments).compile() for f in (plain, saving))
    chex.assert_trees_all_close(kept(*arguments), computed(*arguments), rtol=1e-4, atol=1e-5)
    assert peak_bytes(saving, *arguments) < 0.7 * peak_bytes(plain, *arguments)
    if net is DERIVED:  # XLA's CPU compiler merges the two computations of a cell outside of loops
        temporary = [program.memory_analysis().temp_size_in_bytes for program in (kept, computed)]
        assert temporary[1] < 0.7 * temporary[0]


def convolutions(jaxpr):
    inner = [v for v in jax.tree.leaves([list(e.params.values()) for e in jaxpr.eqns], is_leaf=is_jaxpr) if is_jaxpr(v)]
    own = sum(e.primitive.name in ("pointwise", "depthwise") for e in jaxpr.eqns)
    return own + sum(convolutions(getattr(v, "jaxpr", v)) for v in inner)


def is_jaxpr(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def test_a_third_more_operations_are_what_the_dry_run_says():
    counts = []
    for net in (SUPERNET, SUPERNET.clone(remat=True)):
        arguments = jax.eval_shape(lambda net=net: arguments_of(net, jax.jit))
        counts.append(convolutions(jax.make_jaxpr(gradients(net))(*arguments).jaxpr))
    assert 1.1 * counts[0] < counts[1] <= 4 / 3 * counts[0]
    double = {"train_step": (lambda x: 2 * x, (IMAGES,))}
    assert "a third more operations" in "\n".join(estimates(double, remat=True))
    assert "operations" not in "\n".join(estimates(double))
