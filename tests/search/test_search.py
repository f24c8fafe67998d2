"""The search step on a stand-in network: one dense layer, batch norm and a mixture, which compiles in a moment."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_supernet import CLASSES, CONFIG, KEY, NET, TRAIN, VAL, batch, make

from dsrna_jax.measures import MEASURES, MeasureModule, jacobian
from dsrna_jax.networks import spaces
from dsrna_jax.search import bilevel, optimizers
from dsrna_jax.search import step as search_step


@pytest.fixture(scope="module")
def state():
    """A state in the middle of a search, with momentum and statistics that are not those of the start."""
    _, init, _, weight_step, _ = make()
    state = jax.device_get(weight_step(init(jax.random.key(0)), batch(2))[0])
    return state.replace(alphas=jax.tree.map(lambda a: 1000 * a, state.alphas))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def allclose(actual, expected, rtol=1e-4, atol=1e-6):
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree)))


@functools.partial(jax.jit, static_argnames=("statistics", "mutable"))
def forward(weights, alphas, images, statistics="batch", mutable=("batch_stats", "moments"), **collections):
    mixtures = spaces.mixtures(alphas, 1)
    return NET.apply({"params": weights, **collections}, images, mixtures, statistics, mutable=list(mutable))


@jax.jit
def loss(weights, alphas, batch_stats, data):
    logits, _ = forward(weights, alphas, data.images, batch_stats=batch_stats)
    return optax.softmax_cross_entropy_with_integer_labels(logits, data.labels).mean()


def alpha_gradient(state, train=TRAIN, val=VAL, **changes):
    """The gradient that an alpha step follows, read from the first moment of a fresh Adam (no decay)."""
    config, _, alpha_step, _, _ = make(**changes)
    fresh = jax.jit(search_step.alpha_optimizer(config).init)(state.alphas)
    after, metrics = alpha_step(state.replace(alpha_optimizer=fresh), train, val, KEY)
    gradient = jax.tree.map(lambda m: np.asarray(m) / 0.5, optax.tree.get(after.alpha_optimizer, "mu"))
    return gradient, metrics


# ---- what each step moves


@pytest.mark.parametrize("order", bilevel.HYPERGRADIENTS)
def test_the_alpha_step_moves_only_the_alphas(state, order):
    after = make(order=order)[2](state, TRAIN, VAL, KEY)[0]
    for name in ("step", "weights", "batch_stats", "weight_optimizer"):
        assert same(getattr(after, name), getattr(state, name)), name
    assert all(not np.array_equal(after.alphas[k], state.alphas[k]) for k in state.alphas)


def test_the_weight_step_leaves_the_alphas_and_counts(state):
    after = make()[3](state, TRAIN)[0]
    assert same(after.alphas, state.alphas) and same(after.alpha_optimizer, state.alpha_optimizer)
    assert after.step == state.step + 1
    assert not same(after.weights, state.weights) and not same(after.batch_stats, state.batch_stats)


def test_the_alpha_step_comes_first_and_the_weights_see_its_alphas(state):
    _, _, alpha_step, weight_step, _ = make()
    moved = alpha_step(state, TRAIN, VAL, KEY)[0]
    alphas_first, weights_first = weight_step(moved, TRAIN)[0], alpha_step(weight_step(state, TRAIN)[0], TRAIN, VAL, KEY)[0]
    assert not same(alphas_first.weights, weights_first.weights)
    assert not same(alphas_first.alphas, weights_first.alphas)
    assert same(alphas_first.weights, weight_step(state.replace(alphas=moved.alphas), TRAIN)[0].weights)


def test_unrolled_looks_ahead_by_the_weight_step_that_follows(state):
    """The objective that an unrolled alpha step reports is at the weights that the weight step would reach."""
    _, _, alpha_step, weight_step, _ = make(order="unrolled")
    reported = alpha_step(state, TRAIN, VAL, KEY)[1]["val_batch_loss"]
    ahead = weight_step(state, TRAIN)[0].weights
    np.testing.assert_allclose(reported, loss(ahead, state.alphas, state.batch_stats, VAL), rtol=1e-5)
    assert abs(float(reported) - float(loss(state.weights, state.alphas, state.batch_stats, VAL))) > 1e-4


def test_weight_lr_zero_makes_unrolled_first(state):
    changes = {"weight_lr": 0.0, "weight_lr_min": 0.0}
    allclose(alpha_gradient(state, order="unrolled", **changes)[0], alpha_gradient(state, order="first", **changes)[0])


# ---- weights on perturbed mixtures


@pytest.mark.parametrize("perturbation", ["uniform", "adversarial"])
def test_a_perturbation_of_radius_0_is_none_and_others_move_the_weights_alone(state, perturbation):
    plain, none = make()[3](state, TRAIN, KEY)[0], {"perturbation_start": 0.0, "perturbation_radius": 0.0}
    assert same(make(perturbation=perturbation, **none)[3](state, TRAIN, KEY)[0], plain)
    perturbed, metrics = make(perturbation=perturbation)[3](state, TRAIN, KEY)
    assert not same(perturbed.weights, plain.weights) and same(perturbed.alphas, state.alphas)
    np.testing.assert_allclose(metrics["perturbation_radius"], 0.03, rtol=1e-6)
    assert same(make(perturbation=perturbation)[2](state, TRAIN, VAL, KEY)[0], make()[2](state, TRAIN, VAL, KEY)[0])


def test_an_adversarial_perturbation_costs_more_loss_than_a_uniform_one(state):
    wide = {"perturbation_start": 0.3}
    loss_of = {p: make(perturbation=p, **wide)[3](state, TRAIN, KEY)[1]["train_loss"] for p in ("uniform", "adversarial")}
    assert loss_of["adversarial"] > max(loss_of["uniform"], make()[3](state, TRAIN, KEY)[1]["train_loss"])


# ---- the two optimisers


def test_the_weight_step_is_clipped_sgd_with_coupled_decay_and_momentum(state):
    config, _, _, weight_step, _ = make()
    gradient = jax.device_get(jax.jit(jax.grad(loss))(state.weights, state.alphas, state.batch_stats, TRAIN))
    length = norm(gradient)
    assert length > config.clip
    first = jax.device_get(make()[1](jax.random.key(0)))
    trace = jax.tree.map(lambda old, new: (old - new) / config.weight_lr, first.weights, state.weights)
    after, metrics = weight_step(state, TRAIN)

    def expected(weight, gradient, trace):
        direction = gradient * config.clip / length + config.weight_decay * weight + config.momentum * trace
        return weight - config.weight_lr * direction

    allclose(after.weights, jax.tree.map(expected, state.weights, gradient, trace))
    np.testing.assert_allclose(metrics["weight_gradient"], length, rtol=1e-5)


def test_the_learning_rate_falls_by_a_cosine_once_an_epoch():
    config = dataclasses.replace(CONFIG, clip=1e9, weight_decay=0.0, momentum=0.0)
    optimizer, weights = search_step.weight_optimizer(config, 3), jnp.zeros(())
    update, state, rates = jax.jit(optimizer.update), optimizer.init(weights), []
    for _ in range(3 * (config.epochs + 1)):
        change, state = update(jnp.ones(()), state, weights)
        rates.append(-float(change))
    by_epoch = np.reshape(rates, (-1, 3))
    assert (by_epoch == by_epoch[:, :1]).all()
    cosine = (1 + np.cos(np.pi * np.arange(config.epochs + 1) / config.epochs)) / 2
    np.testing.assert_allclose(by_epoch[:, 0], 0.1 + 0.2 * cosine, rtol=1e-5)
    assert rates[0] == np.float32(config.weight_lr)
    np.testing.assert_allclose(optimizers.weight_rate(config, 100), config.weight_lr_min, rtol=1e-6)


def test_the_alpha_optimiser_is_adam_with_coupled_decay(state):
    config, _, alpha_step, _, _ = make(alpha_decay=0.3)
    alphas, optimizer_state = state.alphas, search_step.alpha_optimizer(config).init(state.alphas)
    mean = square = jax.tree.map(np.zeros_like, alphas)
    for t in (1, 2):
        before = state.replace(alphas=alphas, alpha_optimizer=optimizer_state)
        gradient = jax.tree.map(lambda g, a: g + 0.3 * a, alpha_gradient(before)[0], alphas)
        mean = jax.tree.map(lambda m, g: 0.5 * m + 0.5 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, square, gradient)

        def moved(alpha, m, s, t=t):
            return alpha - config.alpha_lr * (m / (1 - 0.5**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)

        expected = jax.tree.map(moved, alphas, mean, square)
        after = jax.device_get(alpha_step(before, TRAIN, VAL, KEY)[0])
        allclose(after.alphas, expected, rtol=1e-4, atol=1e-4 * config.alpha_lr)
        alphas, optimizer_state = after.alphas, after.alpha_optimizer


# ---- the objective


def mean_row_norms(weights, alphas, images, moments, batch_stats):
    """R of every image: minus the mean length of the gradients of its logits, each image all by itself."""

    def row(image):
        collections = {"batch_stats": batch_stats, "moments": moments}
        return forward(weights, alphas, image[None], "frozen", (), **collections)[0][0]

    jacobians = jax.vmap(jax.jacrev(row))(images).reshape(len(images), CLASSES, -1)
    return -jnp.sqrt((jacobians**2).sum(-1)).mean(-1)


def moments_of(state, data):
    return forward(state.weights, state.alphas, data.images, batch_stats=state.batch_stats)[1]["moments"]


def test_the_objective_is_validation_loss_minus_gamma_times_r(state):
    moments = moments_of(state, VAL)

    def objective(alphas):
        r = mean_row_norms(state.weights, alphas, VAL.images, moments, state.batch_stats)
        return loss(state.weights, alphas, state.batch_stats, VAL) - 0.5 * r.mean(), r

    expected, r = jax.jit(jax.grad(objective, has_aux=True))(state.alphas)
    gradient, metrics = alpha_gradient(state, gamma=0.5)
    allclose(gradient, expected)
    np.testing.assert_allclose(metrics["robustness"], np.mean(r), rtol=1e-5)
    np.testing.assert_allclose(metrics["val_batch_loss"], loss(state.weights, state.alphas, state.batch_stats, VAL), rtol=1e-5)
    np.testing.assert_allclose(metrics["alpha_gradient"], norm(expected), rtol=1e-4)


def test_the_first_order_is_linear_in_gamma(state):
    zero, one, three = (alpha_gradient(state, gamma=g)[0] for g in (0.0, 1.0, 3.0))
    by_r = jax.tree.map(lambda a, b: b - a, zero, one)
    assert norm(by_r) > 1e-3 * norm(zero)
    allclose(three, jax.tree.map(lambda a, r: a + 3 * r, zero, by_r))


def test_without_a_measure_gamma_does_not_matter(state):
    none, with_zero = alpha_gradient(state, metric="none"), alpha_gradient(state, gamma=0.0)
    allclose(none[0], with_zero[0])
    assert "robustness" not in none[1] and with_zero[1]["robustness"] < 0


FLATNESS = """
import jax.numpy as jnp
from dsrna_jax.measures.measure import Measure, mean_robustness, without_slack

def spread(logits_fn, images, labels, key=None, *, log_radius=None):
    "R = -variance of the logits."
    logits = logits_fn(images)
    return without_slack(logits, -logits.var(1))

def measure(config):
    more = lambda measured, log_radius: {"widest": measured.logits.max()}
    return Measure(spread, "R flat", lambda *both: mean_robustness(*both) | more(*both))
"""


def test_a_measure_is_added_by_one_file_and_its_name(state, tmp_path, monkeypatch):
    (tmp_path / "flatness.py").write_text(FLATNESS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(MEASURES, "flat", MeasureModule("flatness"))
    gradient, metrics = alpha_gradient(state, metric="flat", gamma=3.0)
    moments = moments_of(state, VAL)

    def objective(alphas):
        frozen = forward(state.weights, alphas, VAL.images, "frozen", (), batch_stats=state.batch_stats, moments=moments)[0]
        return loss(state.weights, alphas, state.batch_stats, VAL) + 3 * frozen.var(1).mean(), frozen

    expected, logits = jax.jit(jax.grad(objective, has_aux=True))(state.alphas)
    allclose(gradient, expected)
    expected = [-np.var(logits, axis=1).mean(), np.max(logits)]
    np.testing.assert_allclose([metrics["robustness"], metrics["widest"]], expected, rtol=1e-5)


def test_a_larger_gamma_searches_for_a_smaller_jacobian(state):
    after = {}
    for gamma in (0.0, 10.0):
        alpha_step, moved = make(gamma=gamma)[2], state
        for _ in range(5):
            moved, metrics = alpha_step(moved, TRAIN, VAL, KEY)
        after[gamma] = metrics["robustness"]
    assert after[10.0] > after[0.0]


def test_under_fixed_moments_an_image_changes_no_other_images_r(state):
    collections = {"batch_stats": state.batch_stats, "moments": moments_of(state, VAL)}

    @jax.jit
    def r(images):
        frozen = functools.partial(forward, state.weights, state.alphas, statistics="frozen", mutable=(), **collections)
        return jacobian.robustness(lambda x: frozen(x)[0], images, VAL.labels, method="exact").robustness

    changed = VAL.images.copy()
    changed[2] += 0.3
    assert np.array_equal(np.flatnonzero(np.abs(np.subtract(r(changed), r(VAL.images))) > 1e-5), [2])


def test_first_order_sees_no_training_batch_and_unrolled_does(state):
    for order, sees in (("first", False), ("unrolled", True)):
        one, other = (alpha_gradient(state, train=batch(seed), order=order)[0] for seed in (0, 3))
        assert same(one, other) != sees


def test_evaluation_uses_the_running_statistics(state):
    losses, correct = make()[4](state, VAL)
    logits = forward(state.weights, state.alphas, VAL.images, "running", (), batch_stats=state.batch_stats)[0]
    allclose(losses, jax.jit(optax.softmax_cross_entropy_with_integer_labels)(logits, VAL.labels))
    assert np.array_equal(correct, np.argmax(logits, axis=1) == VAL.labels)


def test_one_key_gives_one_start():
    init = make()[1]
    assert same(init(jax.random.key(0)), init(jax.random.key(0)))
    assert not same(init(jax.random.key(0)).weights, init(jax.random.key(3)).weights)
