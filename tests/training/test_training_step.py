"""Losses and rates of a training step are the published ones."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from dsrna_jax.networks import network
from dsrna_jax.runtime.options import with_effect
from dsrna_jax.training import adversarial
from dsrna_jax.training.adversarial import Passes
from dsrna_jax.training.adversarial_options import ADVERSARIES
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.schedules import learning_rate
from dsrna_jax.training.step import evaluated_variables, training_functions


class Linear(nn.Module):
    """One dense layer with the interface of a `Network`."""

    classes: int = 3
    mean: tuple[float, ...] = (0.5,)
    auxiliary: bool = False

    @nn.compact
    def __call__(self, images, mixtures=None, statistics="running", paths=None):
        count = self.variable("batch_stats", "count", lambda: jnp.zeros(()))
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count.value = count.value + 1
        flat = images.reshape(len(images), -1)
        return flat @ self.param("w", nn.initializers.normal(1.0), (flat.shape[1], self.classes))


NET, SHAPE = Linear(), (4, 4, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8)
LABELS = np.arange(8) % 3


def config_of(**fields):
    """A small configuration with these fields, but for those that have no effect beside the others."""
    small = {"batch_size": 8, "auxiliary_weight": 0.0, "epochs": 4, "radius": 0.1, "lr": 0.1}
    return TrainingConfig(**with_effect(TrainingConfig, small | fields))


@pytest.mark.parametrize("kind", ADVERSARIES)
def test_each_kind_of_training_fits_eight_images(kind):
    """Fifty steps on eight images: the loss falls, and images that are right under attack are right without."""
    config = config_of(adversarial=kind, replays=3, epochs=50, attack_steps=3, val_attack_steps=5, radius=0.03, lr=0.5)
    functions = training_functions(config, NET, SHAPE, steps_per_epoch=1)
    state, step, key = functions.init(jax.random.key(0)), jax.jit(functions.train_step), jax.random.key(1)
    losses = []
    for _ in range(50):
        state, metrics = step(state, IMAGES, LABELS, key)
        losses.append(float(metrics["train_loss"]))
    _, right, robust = jax.jit(functions.evaluate)(state, IMAGES, LABELS, key)
    right, robust = np.asarray(right), np.asarray(robust)
    assert not np.any(robust & ~right) and right.sum() >= 6 and robust.sum() >= 4
    assert np.isfinite(list(metrics.values())).all() and int(state.step) == 50
    assert losses[-1] < 0.5 * losses[0]
    updates = {"none": 50, "free": 150, "trades": 100, "mart": 100}.get(kind, 50)
    assert float(state.batch_stats["count"]) == updates  # attacks leave the statistics alone
    if kind == "free":
        assert np.abs(state.perturbation["linf"]).max() <= np.float32(0.03)


def test_radius_zero_is_training_on_clean_images():
    states = []
    for kind in ("none", "pgd", "fast", "free"):
        config = config_of(adversarial=kind, radius=0.0 if kind != "none" else 0.1, replays=1)
        functions = training_functions(config, NET, SHAPE, steps_per_epoch=1)
        state = functions.init(jax.random.key(0))
        for _ in range(3):
            state, _ = jax.jit(functions.train_step)(state, IMAGES, LABELS, jax.random.key(1))
        states.append(np.asarray(state.weights["w"]))
    for other in states[1:]:
        np.testing.assert_allclose(other, states[0], rtol=1e-5, atol=1e-6)


def test_the_radius_grows_in_its_warm_up():
    """The images that a step trains on lie in a ball of a quarter, a half, ... of the radius."""
    seen = []
    config = config_of(adversarial="free", radius_warmup_epochs=2, radius=0.2, replays=1)
    functions = training_functions(config, NET, SHAPE, steps_per_epoch=2)
    state = functions.init(jax.random.key(0))
    for _ in range(5):
        state, _ = jax.jit(functions.train_step)(state, IMAGES, LABELS, jax.random.key(1))
        seen.append(np.abs(state.perturbation["linf"]).max())
    np.testing.assert_allclose(seen, [0.05, 0.1, 0.15, 0.2, 0.2], rtol=1e-6)


def test_branches_are_lost_more_often_from_epoch_to_epoch_as_in_darts(monkeypatch):
    """Epoch e of E, counted from 0, has the share e / E of the probability: the last one not all of it."""
    rates = []
    monkeypatch.setattr(network, "drop_paths", lambda net, key, rate, batch: jax.debug.callback(rates.append, rate))
    functions = training_functions(config_of(drop_path=0.4), NET, SHAPE, steps_per_epoch=2)
    state, step = functions.init(jax.random.key(0)), jax.jit(functions.train_step)
    for _ in range(8):
        state, _ = step(state, IMAGES, LABELS, jax.random.key(1))
    jax.effects_barrier()
    np.testing.assert_allclose(rates, [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3], rtol=1e-6)


def test_the_average_lags_behind_and_is_what_is_evaluated():
    functions = training_functions(config_of(ema=0.9), NET, SHAPE, steps_per_epoch=1)
    start = state = functions.init(jax.random.key(0))
    step = jax.jit(functions.train_step)
    by_hand = np.asarray(start.weights["w"])
    for i in range(3):
        state, _ = step(state, IMAGES, LABELS, jax.random.key(1))
        kept = min(0.9, (1 + i) / (10 + i))
        by_hand = kept * by_hand + (1 - kept) * np.asarray(state.weights["w"])
    np.testing.assert_allclose(evaluated_variables(state)["params"]["w"], by_hand, rtol=1e-5)
    plain = training_functions(config_of(), NET, SHAPE, steps_per_epoch=1).init(jax.random.key(0))
    assert plain.average == {} and evaluated_variables(plain)["params"] is plain.weights


@functools.partial(jax.jit, static_argnums=0)
def losses(config, clean, attacked, labels):
    """The plain loss of clean logits, and those of TRADES and MART of both."""
    passes = Passes(lambda images, stats: (images, None, stats), lambda images: images)
    both = (loss(config, passes, clean, attacked, labels, {})[0] for loss in (adversarial.trades_loss, adversarial.mart_loss))
    return adversarial.plain_loss(config, passes, clean, labels, {})[0], *both


def random_logits(seed, rows=5):
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def test_without_an_attack_trades_is_the_plain_loss_and_mart_the_boosted_one():
    """TRADES is then the plain loss; MART the boosted one."""
    config, labels, clean = config_of(adversarial="mart", beta=5.0), np.array([0, 1, 2, 3, 0]), random_logits(0)
    plain, trades, mart = losses(config, clean, clean, labels)
    np.testing.assert_allclose(plain, -log_softmax(clean, axis=1)[np.arange(5), labels].mean(), rtol=1e-5)
    np.testing.assert_allclose(trades, plain, rtol=1e-5)
    p = softmax(clean, axis=1)
    rivals = [max(np.delete(row, label)) for row, label in zip(p, labels, strict=True)]
    boosted = np.asarray(plain) + np.mean([-np.log(1.0001 - rival) for rival in rivals])
    np.testing.assert_allclose(mart, boosted, rtol=1e-5)


def test_trades_and_mart_equal_their_formulas():
    config, labels = config_of(adversarial="mart", beta=5.0), np.array([0, 1, 2, 3, 0])
    clean, attacked = random_logits(0), random_logits(1)
    p, q = softmax(np.float64(clean), axis=1), softmax(np.float64(attacked), axis=1)
    kl = np.sum(p * (np.log(p) - np.log(q)), axis=1)
    rows = np.arange(5)
    _, trades, mart = losses(config, clean, attacked, labels)
    np.testing.assert_allclose(trades, np.mean(-np.log(p[rows, labels]) + 5 * kl), rtol=1e-5)
    rivals = np.array([max(np.delete(row, label)) for row, label in zip(q, labels, strict=True)])
    boosted = np.mean(-np.log(q[rows, labels]) - np.log(1.0001 - rivals) + 5 * kl * (1 - p[rows, labels]))
    np.testing.assert_allclose(mart, boosted, rtol=1e-5)


def test_the_plain_loss_smooths_labels_and_adds_the_auxiliary_loss():
    config, labels, logits = config_of(label_smoothing=0.1, auxiliary_weight=0.4), np.array([0, 3]), random_logits(2, 2)
    q = np.full((2, 4), 0.025) + 0.9 * np.eye(4)[labels]
    expected = -np.sum(q * log_softmax(logits, axis=1), axis=1).mean()
    passes = Passes(lambda images, stats: (images, 2 * images, stats), None)
    other = -np.sum(q * log_softmax(2 * logits, axis=1), axis=1).mean()
    loss, _ = jax.jit(lambda logits: adversarial.plain_loss(config, passes, logits, labels, {}))(logits)
    np.testing.assert_allclose(loss, expected + 0.4 * other, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "epochs", "rates"),
    [
        ({"schedule": "cosine", "epochs": 600}, [0, 300, 599.9, 600], [1, 0.5, 6.9e-6, 0]),
        ({"schedule": "linear", "epochs": 10}, [0, 5.5, 9], [1, 0.5, 0.1]),
        ({"schedule": "decay", "epochs": 250}, [0, 1, 2.9, 100], [1, 0.97, 0.97**2, 0.97**100]),
        ({"schedule": "steps", "epochs": 200}, [0, 99.9, 100, 149, 150, 199], [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"schedule": "triangle", "epochs": 10}, [0, 2.5, 5, 7.5, 10], [0, 0.5, 1, 0.5, 0]),
        ({"schedule": "constant", "epochs": 10, "lr_warmup_epochs": 5}, [0, 1.5, 4, 9], [0.2, 0.4, 1, 1]),
    ],
    ids=lambda value: value.get("schedule") if isinstance(value, dict) else "",
)
def test_learning_rates_follow_their_schedule(fields, epochs, rates):
    config = config_of(**{"lr": 1.0, **fields})
    rate = jax.jit(jax.vmap(lambda step: learning_rate(config, step, 10)))
    np.testing.assert_allclose(rate(np.rint(10 * np.array(epochs)).astype(int)), rates, rtol=2e-2, atol=1e-6)
