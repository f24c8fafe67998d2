"""The bi-level search step: the alphas move by the hypergradient of loss - gamma * R, then the weights by that of the loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from dsrna_jax.data import augment
from dsrna_jax.losses import accuracy, cross_entropy
from dsrna_jax.measures.measure import configured
from dsrna_jax.measures.radius_schedules import RADIUS_SCHEDULES
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.search import bilevel
from dsrna_jax.search.config import SearchConfig


class Batch(NamedTuple):
    """Images [batch, height, width, channel] in [0, 1] and labels [batch]."""

    images: jax.Array
    labels: jax.Array


@flax.struct.dataclass
class SearchState:
    """All that a search carries from step to step."""

    step: jax.Array
    weights: Any
    batch_stats: Any
    alphas: dict[str, jax.Array]
    weight_optimizer: Any
    alpha_optimizer: Any
    log_radius: jax.Array


class Search(NamedTuple):
    """The pure functions of a search; `make_search` builds them, the caller jits them.

    init(key) -> SearchState
    alpha_step(state, train, val, key) -> (state, metrics): moves the alphas; batch statistics stay.
    weight_step(state, train) -> (state, metrics): moves weights and batch statistics, and counts the step.
    evaluate(state, batch) -> sums over the batch of loss and of correct answers, by the running statistics.
    certify(state, batch) -> [batch], logarithm of an interval bound of the supernet's certified radius, by the same; None
      unless the measure is a certificate.
    """

    init: Callable
    alpha_step: Callable
    weight_step: Callable
    evaluate: Callable
    certify: Callable | None
    augmented: Callable


def weight_rate(config: SearchConfig, epoch):
    """The learning rate of the weights in an epoch, counted from 0: a cosine from `weight_lr` to `weight_lr_min`."""
    progress = jnp.minimum(epoch, config.epochs) / config.epochs
    return config.weight_lr_min + (config.weight_lr - config.weight_lr_min) * (1 + jnp.cos(jnp.pi * progress)) / 2


def weight_optimizer(config: SearchConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """SGD as in DARTS: clipped gradient, coupled L2 decay, momentum, and a cosine rate that falls once an epoch."""

    return optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.add_decayed_weights(config.weight_decay),
            optax.trace(config.momentum),
            optax.scale_by_learning_rate(lambda count: weight_rate(config, count // steps_per_epoch)),
        )
    )


def alpha_optimizer(config: SearchConfig) -> optax.GradientTransformation:
    """Adam as in DARTS: betas .5 and .999, coupled L2 decay."""
    return optax.chain(
        optax.add_decayed_weights(config.alpha_decay),
        optax.scale_by_adam(b1=0.5, b2=0.999),
        optax.scale_by_learning_rate(config.alpha_lr),
    )


def make_search(config: SearchConfig, supernet: network.Network, image_shape, steps_per_epoch: int) -> Search:
    """The functions of a search with the given supernet on images of `image_shape` (height, width, channel)."""
    optimizer, architect = weight_optimizer(config, steps_per_epoch), alpha_optimizer(config)
    hypergradient = bilevel.hypergradient(config.order)
    measure = configured(config)
    schedule = RADIUS_SCHEDULES[config.radius_schedule]
    alpha_steps = max(1, (config.epochs - config.warmup_epochs) * steps_per_epoch)

    def init(key):
        weights_key, alphas_key = jax.random.split(key)
        variables = supernet.init(weights_key, jnp.zeros((1, *image_shape)))
        alphas = spaces.initial_alphas(alphas_key, config.space, config.nodes)
        return SearchState(
            jnp.zeros((), jnp.int32),
            variables["params"],
            variables["batch_stats"],
            alphas,
            optimizer.init(variables["params"]),
            architect.init(alphas),
            schedule(jnp.log(jnp.float32(config.radius)), jnp.zeros(1), 1 / alpha_steps, config.radius),
        )

    def mixtures(alphas):
        return spaces.mixtures(alphas, config.nodes, config.primitives)

    def forward(weights, batch_stats, alphas, images, mutable):
        variables = {"params": weights, "batch_stats": batch_stats}
        return supernet.apply(variables, images, mixtures(alphas), "batch", mutable=mutable)

    def train_loss(weights, alphas, batch_stats, batch):
        logits, updated = forward(weights, batch_stats, alphas, batch.images, ["batch_stats"])
        return cross_entropy(logits, batch.labels).mean(), (logits, updated["batch_stats"])

    def objective(weights, alphas, batch_stats, log_radius, batch, key):
        """Validation loss - gamma * R (Eq. 16); R sees each image alone, by the statistics of this batch as constants."""
        logits, moments = forward(weights, batch_stats, alphas, batch.images, ["moments"])
        loss = cross_entropy(logits, batch.labels).mean()
        frozen = {"params": weights, "batch_stats": batch_stats, **moments}
        function = NetworkFunction(supernet, frozen, mixtures(alphas), "frozen")
        measured = measure.apply(function, batch.images, batch.labels, key, log_radius=log_radius)
        metrics = {"val_batch_loss": loss, "val_batch_accuracy": accuracy(logits, batch.labels)}
        metrics |= measure.metrics(measured, log_radius)
        return loss - config.gamma * measured.robustness.mean(), (metrics, measured.slack)

    def alpha_step(state, train, val, key):
        def weight_update(gradient):
            updates, _ = optimizer.update(gradient, state.weight_optimizer, state.weights)
            return optax.apply_updates(state.weights, updates)

        gradient, (metrics, slack) = hypergradient(
            lambda w, a: train_loss(w, a, state.batch_stats, train)[0],
            lambda w, a: objective(w, a, state.batch_stats, state.log_radius, val, key),
            weight_update,
            state.weights,
            state.alphas,
        )
        updates, alpha_state = architect.update(gradient, state.alpha_optimizer, state.alphas)
        alphas = optax.apply_updates(state.alphas, updates)
        metrics |= {"alpha_gradient": optax.tree.norm(gradient)}
        next_progress = (state.step - config.warmup_epochs * steps_per_epoch + 2) / alpha_steps
        log_radius = schedule(state.log_radius, slack, next_progress, config.radius)
        return state.replace(alphas=alphas, alpha_optimizer=alpha_state, log_radius=log_radius), metrics

    def weight_step(state, train):
        gradient_of = jax.value_and_grad(train_loss, has_aux=True)
        (loss, (logits, batch_stats)), gradient = gradient_of(state.weights, state.alphas, state.batch_stats, train)
        updates, optimizer_state = optimizer.update(gradient, state.weight_optimizer, state.weights)
        state = state.replace(
            step=state.step + 1,
            weights=optax.apply_updates(state.weights, updates),
            batch_stats=batch_stats,
            weight_optimizer=optimizer_state,
        )
        metrics = {"train_loss": loss, "train_accuracy": accuracy(logits, train.labels)}
        return state, metrics | {"weight_gradient": optax.tree.norm(ravel_pytree(gradient)[0])}  # as the optimiser has it

    def evaluate(state, batch):
        variables = {"params": state.weights, "batch_stats": state.batch_stats}
        logits = supernet.apply(variables, batch.images, mixtures(state.alphas), "running")
        return cross_entropy(logits, batch.labels), jnp.argmax(logits, axis=1) == batch.labels

    def certify(state, batch):
        variables = {"params": state.weights, "batch_stats": state.batch_stats}
        function = NetworkFunction(supernet, variables, mixtures(state.alphas), "running")
        log_start = jnp.log(jnp.float32(config.radius))
        return measure.log_certified_radius(function, batch.images, batch.labels, log_start=log_start)

    def augmented(images, key):
        return augment.augmented(
            augment.pixels(images), key, crop_padding=config.crop_padding, flip=config.flip, cutout=config.cutout
        )

    return Search(init, alpha_step, weight_step, evaluate, certify if measure.log_certified_radius else None, augmented)
