"""The loss of a batch under each kind of adversarial training.

`Passes` has the two forward passes of a training step, of which a loss uses those it needs:

    passes.train(images, batch_stats) -> (logits, auxiliary logits or None, new batch statistics)
    passes.attacked(images) -> logits, by constant statistics, for attacks
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dsrna_jax import attacks
from dsrna_jax.data_parallel import own_draws
from dsrna_jax.kernels.reductions import max_over
from dsrna_jax.training.config import TrainingConfig


class Passes(NamedTuple):
    """The two forward passes of a network in a training step."""

    train: Callable
    attacked: Callable


def smoothed_cross_entropy(config: TrainingConfig, logits, labels):
    """Cross-entropy [batch] in nats, with the configured label smoothing."""
    targets = jax.nn.one_hot(labels, logits.shape[1])
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, config.label_smoothing))


def divergence(first, second):
    """KL(softmax(first) || softmax(second)) of each example, [batch], in nats."""
    first, second = jax.nn.log_softmax(first), jax.nn.log_softmax(second)
    return jnp.sum(jnp.exp(first) * (first - second), axis=1)


def plain_loss(config: TrainingConfig, passes: Passes, images, labels, batch_stats):
    """Mean cross-entropy, with that of the auxiliary head: (loss, (logits, batch statistics))."""
    logits, auxiliary, batch_stats = passes.train(images, batch_stats)
    loss = smoothed_cross_entropy(config, logits, labels).mean()
    if auxiliary is not None:
        loss = loss + config.auxiliary_weight * smoothed_cross_entropy(config, auxiliary, labels).mean()
    return loss, (logits, batch_stats)


def trades_loss(config: TrainingConfig, passes: Passes, images, attacked, labels, batch_stats):
    """Cross-entropy of clean images + beta * divergence of attacked from clean predictions (Zhang et al. 2019)."""
    loss, (clean, batch_stats) = plain_loss(config, passes, images, labels, batch_stats)
    logits, _, batch_stats = passes.train(attacked, batch_stats)
    return loss + config.beta * divergence(clean, logits).mean(), (logits, batch_stats)


def mart_loss(config: TrainingConfig, passes: Passes, images, attacked, labels, batch_stats):
    """Boosted cross-entropy of attacked images + beta * divergence weighted by 1 - p(label) of clean ones (Wang et al. 2020)."""
    clean, _, batch_stats = passes.train(images, batch_stats)
    loss, (logits, batch_stats) = plain_loss(config, passes, attacked, labels, batch_stats)
    right = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
    rival = max_over(jnp.where(right, 0.0, jax.nn.softmax(logits)), 1)
    doubt = 1 - jnp.sum(jnp.where(right, jax.nn.softmax(clean), 0.0), axis=1)
    boost = -jnp.log1p(1e-4 - rival)
    return loss + (boost + config.beta * doubt * divergence(clean, logits)).mean(), (logits, batch_stats)


def attacked_loss(config: TrainingConfig, passes: Passes, images, attacked, labels, batch_stats):
    """`plain_loss` of attacked images alone (Madry et al. 2018)."""
    return plain_loss(config, passes, attacked, labels, batch_stats)


def pgd_attack(config: TrainingConfig, passes: Passes, images, labels, key, *, radius, **options):
    """PGD with the configured steps, whose last iterate counts."""
    options = {"steps": config.attack_steps, "step_size": config.attack_step * radius, "keep": "last", **options}
    return attacks.pgd(passes.attacked, images, labels, key, radius=radius, norm=config.norm, **options)


def fgsm_attack(config: TrainingConfig, passes: Passes, images, labels, key, *, radius):
    """FGSM from a random start (Wong et al. 2020)."""
    return attacks.fgsm(passes.attacked, images, labels, key, radius=radius, norm=config.norm, random_start=True)


def trades_attack(config: TrainingConfig, passes: Passes, images, labels, key, *, radius):
    """PGD on the divergence, whose gradient is zero at the image itself, so that TRADES starts beside it."""
    clean = jax.lax.stop_gradient(passes.attacked(images))
    beside = images + 1e-3 * own_draws(lambda shape: jax.random.normal(key, shape), images.shape)
    options = {"loss": lambda logits, _: divergence(clean, logits), "random_start": False, "x_init": beside}
    return pgd_attack(config, passes, images, labels, key, radius=radius, **options)


class AdversarialKind(NamedTuple):
    """A kind of adversarial training.

    attack: (config, passes, images, labels, key, *, radius) -> `AttackResult`.
    loss: (config, passes, images, attacked images, labels, batch_stats) -> (loss, (logits, batch statistics)).
    """

    attack: Callable[..., attacks.AttackResult]
    loss: Callable


# All but `free`, which attacks across its steps (`step.TrainingFunctions`).
KINDS = {
    "pgd": AdversarialKind(pgd_attack, attacked_loss),
    "fast": AdversarialKind(fgsm_attack, attacked_loss),
    "trades": AdversarialKind(trades_attack, trades_loss),
    "mart": AdversarialKind(pgd_attack, mart_loss),
}


def loss(config: TrainingConfig, passes: Passes, images, labels, batch_stats, key, *, radius):
    """The loss of a batch under the configured kind of training, except `free`: (loss, (logits, batch statistics)).

    The logits are those of the attacked images, if training is adversarial. These lie within `radius` of the images and have no
    gradients; the attack updates no batch statistics.
    """
    if not config.is_adversarial:
        return plain_loss(config, passes, images, labels, batch_stats)
    kind = KINDS[config.adversarial]
    attacked = kind.attack(config, passes, images, labels, key, radius=radius)
    return kind.loss(config, passes, images, jax.lax.stop_gradient(attacked.x_adv), labels, batch_stats)
