"""Hypergradients against autodiff and finite differences through the whole of a real optimiser step, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrna_jax import bilevel, network
from dsrna_jax.errors import InputError

RATE = 0.3


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def logits(weights, alphas, x):
    """Two layers whose hidden units are mixed tanh and sine, so that weights and alphas meet in every derivative."""
    share = jax.nn.softmax(alphas["normal"])
    hidden = x @ weights["in"]
    hidden = share[:, 0] * jnp.tanh(hidden) + share[:, 1] * jnp.sin(hidden) + alphas["reduction"] * hidden
    return hidden @ weights["out"] + weights["bias"]


def loss(weights, alphas, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits(weights, alphas, x), y).mean()


TRAIN, VAL = ((normal(seed, 6, 3), np.arange(6) % 2) for seed in (0, 1))
WEIGHTS = {"in": normal(2, 3, 4), "out": normal(3, 4, 2), "bias": normal(4, 2)}
ALPHAS = {"normal": normal(5, 4, 2), "reduction": normal(6, 4)}


def train_loss(weights, alphas):
    return loss(weights, alphas, *TRAIN)


def objective(weights, alphas):
    """A validation loss that also sees the alphas directly, and an auxiliary output."""
    value = loss(weights, alphas, *VAL)
    return value + 0.1 * (alphas["normal"] ** 2).sum() * (weights["out"] ** 2).sum(), {"loss": value}


def step(clip=1e3, decay=0.1, momentum=0.9, rate=RATE):
    """A weight update with a history: SGD whose momentum is not zero."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(clip),
        optax.add_decayed_weights(decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(rate),
    )
    _, state = optimizer.update(jax.tree.map(jnp.cos, WEIGHTS), optimizer.init(WEIGHTS), WEIGHTS)

    def weight_update(gradient):
        return optax.apply_updates(WEIGHTS, optimizer.update(gradient, state, WEIGHTS)[0])

    return weight_update


def gradient(order, weight_update):
    return jax.jit(functools.partial(order, train_loss, objective, weight_update))(WEIGHTS, ALPHAS)


def whole(weight_update):
    """The objective after the weight step, as a function of the alphas alone."""
    return lambda a: objective(weight_update(jax.grad(train_loss)(WEIGHTS, a)), a)[0]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def close(actual, expected, rtol):
    """Whether two gradients are equal, by the norm of their difference."""
    actual, expected = flat(actual), flat(expected)
    assert np.linalg.norm(actual - expected) <= rtol * np.linalg.norm(expected)


STEPS = {"plain": {"decay": 0.0, "momentum": 0.0}, "whole": {}, "clipped": {"clip": 0.05}}


@pytest.mark.parametrize("name", STEPS)
def test_unrolled_is_the_derivative_through_the_step(name):
    update = step(**STEPS[name])
    hypergradient, _ = gradient(bilevel.unrolled, update)
    close(hypergradient, jax.jit(jax.grad(whole(update)))(ALPHAS), 1e-10)


@pytest.mark.parametrize("name", STEPS)
def test_unrolled_is_the_slope_of_the_objective_after_the_step(name):
    update, size = step(**STEPS[name]), 1e-5
    flat_alphas, structured = jax.flatten_util.ravel_pytree(ALPHAS)
    value = jax.jit(jax.vmap(lambda a: whole(update)(structured(a))))
    moves = size * np.eye(len(flat_alphas))
    slopes = (value(flat_alphas + moves) - value(flat_alphas - moves)) / (2 * size)
    close(gradient(bilevel.unrolled, update)[0], slopes, 1e-8)


def test_the_clipping_of_that_test_is_active():
    norm = optax.global_norm(jax.grad(train_loss)(WEIGHTS, ALPHAS))
    assert STEPS["clipped"]["clip"] < norm < 1e3


def test_clipping_momentum_and_decay_are_part_of_the_step():
    by_step = {name: flat(gradient(bilevel.unrolled, step(**options))[0]) for name, options in STEPS.items()}
    by_step["no momentum"] = flat(gradient(bilevel.unrolled, step(momentum=0.0))[0])
    by_step["no decay"] = flat(gradient(bilevel.unrolled, step(decay=0.0))[0])
    reference = by_step.pop("whole")
    for name, other in by_step.items():
        assert np.linalg.norm(other - reference) > 1e-3 * np.linalg.norm(reference), name


def test_the_finite_difference_converges_to_unrolled_with_the_square_of_its_scale():
    update = step()
    exact = flat(gradient(bilevel.unrolled, update)[0])
    scales = (1e-1, 1e-2, 1e-3)
    errors = [np.linalg.norm(flat(gradient(functools.partial(bilevel.unrolled_fd, scale=s), update)[0]) - exact) for s in scales]
    assert 0 < errors[2] < 1e-5 * np.linalg.norm(exact)
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 100, rtol=0.1)


@pytest.mark.parametrize("order", ["unrolled", "unrolled_fd"])
def test_rate_zero_leaves_the_first_order(order):
    update = step(rate=0.0)
    if order == "unrolled_fd":  # its direction is zero, which has no norm to divide by
        update = step(rate=1e-9)
    close(gradient(bilevel.hypergradient(order), update)[0], gradient(bilevel.first, update)[0], 1e-7)


def test_first_is_the_direct_gradient_at_the_present_weights():
    close(gradient(bilevel.first, step())[0], jax.grad(lambda a: objective(WEIGHTS, a)[0])(ALPHAS), 1e-12)
    second = flat(gradient(bilevel.unrolled, step())[0])
    assert np.linalg.norm(second - flat(gradient(bilevel.first, step())[0])) > 0.01 * np.linalg.norm(second)


@pytest.mark.parametrize("order", bilevel.HYPERGRADIENTS)
def test_the_auxiliary_output_is_that_of_the_objective(order):
    update = step()
    auxiliary = gradient(bilevel.hypergradient(order), update)[1]
    weights = WEIGHTS if order == "first" else update(jax.grad(train_loss)(WEIGHTS, ALPHAS))
    np.testing.assert_allclose(auxiliary["loss"], objective(weights, ALPHAS)[1]["loss"], rtol=1e-12)


def test_a_hypergradient_has_the_structure_of_the_alphas():
    for order in bilevel.HYPERGRADIENTS.values():
        shapes = jax.eval_shape(functools.partial(order, train_loss, objective, step()), WEIGHTS, ALPHAS)[0]
        assert jax.tree.map(jnp.shape, ALPHAS) == jax.tree.map(lambda s: s.shape, shapes)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="second.*first, unrolled, unrolled_fd"):
        bilevel.hypergradient("second")


@pytest.mark.slow
def test_unrolled_is_the_derivative_through_the_step_of_a_supernet():
    primitives = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
    settings = {"cells": 3, "channels": 2, "classes": 3, "mean": (0.5,), "deviation": (0.5,)}
    net = network.supernet("darts", steps=1, primitives=primitives, **settings)
    images, labels = np.random.default_rng(0).uniform(size=(2, 4, 4, 4, 1)), np.arange(4) % 3
    shapes = jax.eval_shape(net.init, jax.random.key(0), images[0])
    draw = iter(range(1000))
    weights = jax.tree.map(lambda s: 0.5 * normal(next(draw), *s.shape), shapes["params"])
    stats = jax.tree.map(lambda s: np.zeros(s.shape), shapes["batch_stats"])
    alphas = {kind: normal(next(draw), 2, len(primitives)) for kind in network.CELL_TYPES}

    def net_loss(weights, alphas, half):
        mixtures = network.mixtures(alphas, 1, primitives)
        output = net.apply({"params": weights, "batch_stats": stats}, images[half], mixtures, "batch")
        return optax.softmax_cross_entropy_with_integer_labels(output, labels).mean()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.add_decayed_weights(3e-4), optax.trace(0.9))
    state = optimizer.init(weights)

    def update(gradient):
        return jax.tree.map(lambda w, u: w - 0.1 * u, weights, optimizer.update(gradient, state, weights)[0])

    @jax.jit
    def both(weights, alphas):
        def train(w, a):
            return net_loss(w, a, 0)

        hypergradient, _ = bilevel.unrolled(train, lambda w, a: (net_loss(w, a, 1), None), update, weights, alphas)
        through = jax.grad(lambda a: net_loss(update(jax.grad(train)(weights, a)), a, 1))(alphas)
        return hypergradient, through, jax.grad(lambda a: net_loss(weights, a, 1))(alphas)

    hypergradient, through, direct = both(weights, alphas)
    close(hypergradient, through, 1e-8)
    assert np.linalg.norm(flat(through) - flat(direct)) > 1e-3 * np.linalg.norm(flat(direct))
