"""Hypergradients against autodiff and finite differences through the whole of a real optimiser step, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.networks.cell import Cell
from dsrna_jax.networks.plan import supernet_branches
from dsrna_jax.search import bilevel

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
    hidden = share[None, :, 0] * jnp.tanh(hidden) + share[None, :, 1] * jnp.sin(hidden) + alphas["reduction"][None] * hidden
    return hidden @ weights["out"] + weights["bias"][None]


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


def sgd(clip, decay, momentum, rate):
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.add_decayed_weights(decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(rate),
    )


@jax.jit
def history(*options):
    """The state of `sgd` after a step."""
    optimizer = sgd(*options)
    return optimizer.update(jax.tree.map(jnp.cos, WEIGHTS), optimizer.init(WEIGHTS), WEIGHTS)[1]


def step(clip=1e3, decay=0.1, momentum=0.9, rate=RATE):
    """A weight update with a history: SGD whose momentum is not zero."""
    optimizer, state = sgd(clip, decay, momentum, rate), history(clip, decay, momentum, rate)

    def weight_update(gradient):
        return optax.apply_updates(WEIGHTS, optimizer.update(gradient, state, WEIGHTS)[0])

    return weight_update


STEPS = {
    "whole": {},
    "clipped": {"clip": 0.05},
    "no momentum": {"momentum": 0.0},
    "no decay": {"decay": 0.0},
    "rate zero": {"rate": 0.0},
    "rate tiny": {"rate": 1e-9},
}


@functools.cache
def compiled(order, name):
    weight_update = step(**STEPS[name])

    def gradient(weights, alphas, options):
        return bilevel.hypergradient(order)(train_loss, objective, weight_update, weights, alphas, **options)

    return jax.jit(gradient)


def gradient(order, name="whole", **options):
    """(gradient by the alphas, auxiliary output) of a hypergradient with one of `STEPS`."""
    return compiled(order, name)(WEIGHTS, ALPHAS, options)


def whole(weight_update, result=lambda pair: pair[0]):
    """The objective after the weight step, as a function of the alphas alone."""
    return lambda a: result(objective(weight_update(jax.grad(train_loss)(WEIGHTS, a)), a))


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def close(actual, expected, rtol):
    """Whether two gradients are equal, by the norm of their difference."""
    actual, expected = flat(actual), flat(expected)
    assert np.linalg.norm(actual - expected) <= rtol * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["whole", "clipped"])
def test_unrolled_is_the_derivative_through_the_step(name):
    close(gradient("unrolled", name)[0], jax.jit(jax.grad(whole(step(**STEPS[name]))))(ALPHAS), 1e-10)


@pytest.mark.parametrize("name", ["whole", "clipped"])
def test_unrolled_is_the_slope_of_the_objective_after_the_step(name):
    update, size = step(**STEPS[name]), 1e-5
    flat_alphas, structured = jax.flatten_util.ravel_pytree(ALPHAS)
    value = jax.jit(jax.vmap(lambda a: whole(update)(structured(a))))
    moves = size * np.eye(len(flat_alphas))
    higher, lower = (np.asarray(value(np.asarray(flat_alphas)[None] + moved)) for moved in (moves, -moves))
    slopes = (higher - lower) / (2 * size)
    close(gradient("unrolled", name)[0], slopes, 1e-8)


def test_gradients_are_large_enough_to_be_clipped_in_the_clipped_step():
    norm = np.linalg.norm(flat(jax.jit(jax.grad(train_loss))(WEIGHTS, ALPHAS)))
    assert STEPS["clipped"]["clip"] < norm < 1e3


def test_clipping_momentum_and_decay_are_part_of_the_step():
    reference = flat(gradient("unrolled")[0])
    for name in ("clipped", "no momentum", "no decay"):
        other = flat(gradient("unrolled", name)[0])
        assert np.linalg.norm(other - reference) > 1e-3 * np.linalg.norm(reference), name


def test_the_finite_difference_converges_to_unrolled_with_the_square_of_its_scale():
    exact = flat(gradient("unrolled")[0])
    errors = [np.linalg.norm(flat(gradient("unrolled_fd", scale=s)[0]) - exact) for s in (1e-1, 1e-2, 1e-3)]
    assert 0 < errors[2] < 1e-5 * np.linalg.norm(exact)
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 100, rtol=0.1)


def test_rate_zero_leaves_the_first_order():
    for order in ("unrolled", "unrolled_fd"):
        close(gradient(order, "rate zero")[0], gradient("first")[0], 1e-12)
    close(gradient("unrolled_fd", "rate tiny")[0], gradient("first")[0], 1e-7)


def test_first_is_the_direct_gradient_at_the_present_weights():
    first, second = flat(gradient("first")[0]), flat(gradient("unrolled")[0])
    close(first, jax.jit(jax.grad(lambda a: objective(WEIGHTS, a)[0]))(ALPHAS), 1e-12)
    assert np.linalg.norm(second - first) > 0.01 * np.linalg.norm(second)


@pytest.mark.parametrize("order", bilevel.HYPERGRADIENTS)
def test_the_auxiliary_output_is_that_of_the_objective(order):
    value = whole(step(**STEPS["rate zero" if order == "first" else "whole"]), result=lambda pair: pair[1]["loss"])
    options = {"scale": 1e-1} if order == "unrolled_fd" else {}  # as in the test above, whose program serves again
    np.testing.assert_allclose(gradient(order, **options)[1]["loss"], jax.jit(value)(ALPHAS), rtol=1e-12)


def test_a_hypergradient_has_the_structure_of_the_alphas():
    for order in bilevel.HYPERGRADIENTS.values():
        shapes = jax.eval_shape(functools.partial(order, train_loss, objective, step()), WEIGHTS, ALPHAS)[0]
        assert jax.tree.map(jnp.shape, ALPHAS) == jax.tree.map(lambda s: s.shape, shapes)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="second.*first, unrolled, unrolled_fd"):
        bilevel.hypergradient("second")


def test_unrolled_is_the_derivative_through_the_step_of_a_cell():
    """The supernet's own operations (depthwise convolution, max pool, batch norm) differentiate as far as it takes."""
    primitives, channels = ("max_pool_3x3", "skip_connect", "sep_conv_3x3"), 2
    net = Cell(supernet_branches(1, primitives), (2,), channels, reduction=True, after_reduction=False, is_supernet=True)
    before, last = normal(0, 2, 2, channels, 3, 4, 4)  # two halves of [input, channel, batch, height, width]
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), *x, jnp.ones(6), jnp.ones(2), "batch"), before)
    draw = iter(range(100))
    weights = jax.tree.map(lambda s: normal(next(draw), *s.shape), shapes["params"])
    stats = jax.tree.map(lambda s: np.zeros(s.shape), shapes["batch_stats"])
    alphas = normal(next(draw), 2, len(primitives))

    def energy(weights, alphas, images):
        mixture = jax.nn.softmax(alphas).ravel()
        output = net.apply({"params": weights, "batch_stats": stats}, *images, mixture, jnp.ones(2), "batch")
        return jnp.tanh(output[0] - 2 * output[1]).mean()

    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.add_decayed_weights(3e-4), optax.trace(0.9))
    state = optimizer.init(weights)

    def update(gradient):
        return jax.tree.map(lambda w, u: w - 0.5 * u, weights, optimizer.update(gradient, state, weights)[0])

    def train(w, a):
        return energy(w, a, before)

    @jax.jit
    def gradients(weights, alphas):
        hypergradient, _ = bilevel.unrolled(train, lambda w, a: (energy(w, a, last), None), update, weights, alphas)
        through = jax.grad(lambda a: energy(update(jax.grad(train)(weights, a)), a, last))(alphas)
        return hypergradient, through, jax.grad(energy, argnums=1)(weights, alphas, last)

    hypergradient, through, direct = gradients(weights, alphas)
    close(hypergradient, through, 1e-8)
    assert np.linalg.norm(through - direct) > 1e-3 * np.linalg.norm(direct)
