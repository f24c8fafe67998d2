"""The training step of a derived network: standard or adversarial, the attack inside the compiled step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsrna_jax import attacks
from dsrna_jax.data import augment
from dsrna_jax.losses import accuracy, cross_entropy
from dsrna_jax.networks import network
from dsrna_jax.runtime.compilation import step_key
from dsrna_jax.training import adversarial
from dsrna_jax.training.adversarial import Passes
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.schedules import learning_rate, ramp

_AUGMENTATION, _PATHS, _ATTACK, _NOISE, _VAL_ATTACK = range(5)  # streams of randomness


@flax.struct.dataclass
class TrainingState:
    """All that a training carries from step to step.

    average: of weights and batch statistics, or {} without one. perturbation: what `free` training goes on with, or {}.
    """

    step: jax.Array
    weights: Any
    batch_stats: Any
    optimizer: Any
    average: dict[str, Any]
    perturbation: dict[str, jax.Array]


class Training(NamedTuple):
    """The pure functions of a training; `make_training` builds them, the caller jits them.

    init(key) -> TrainingState
    train_step(state, images, labels, key) -> (state, metrics), of uint8 images [batch, height, width, channel].
    evaluate(state, images, labels, key) -> [batch] of loss, of correct answers, and of correct answers under attack.
    """

    init: Callable
    train_step: Callable
    evaluate: Callable


def optimizer(config: TrainingConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """SGD as in DARTS: clipped gradient, coupled L2 decay, momentum."""
    replays = config.replays if config.adversarial == "free" else 1
    return optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.add_decayed_weights(config.weight_decay),
            optax.trace(config.momentum),
            optax.scale_by_learning_rate(lambda count: learning_rate(config, count // replays / steps_per_epoch)),
        )
    )


def evaluated_variables(state: TrainingState) -> dict[str, Any]:
    """What is evaluated and deployed: the averages, where there are such."""
    chosen = state.average or {"weights": state.weights, "batch_stats": state.batch_stats}
    return {"params": chosen["weights"], "batch_stats": chosen["batch_stats"]}


def make_training(config: TrainingConfig, net: network.Network, image_shape, steps_per_epoch: int) -> Training:
    """The functions of a training of `net` on images of `image_shape` (height, width, channel)."""
    descent = optimizer(config, steps_per_epoch)
    image_size = (config.batch_size, *image_shape)

    def init(key):
        variables = net.init(key, jnp.zeros((1, *image_shape)))
        weights, batch_stats = variables["params"], variables["batch_stats"]
        average = {"weights": weights, "batch_stats": batch_stats} if config.ema else {}
        perturbation = {"linf": jnp.zeros(image_size)} if config.adversarial == "free" else {}
        return TrainingState(jnp.zeros((), jnp.int32), weights, batch_stats, descent.init(weights), average, perturbation)

    def passes(weights, batch_stats, epoch, key, step):
        """The views of the network in one step; the same branches are lost in all of its passes."""
        rate = config.drop_path * jnp.floor(epoch) / config.epochs

        def train(images, batch_stats):
            paths = None
            if config.drop_path:
                paths = network.drop_paths(net, step_key(key, _PATHS, step), rate, len(images))
            output, updated = net.apply(
                {"params": weights, "batch_stats": batch_stats},
                images,
                None,
                "batch",
                paths,
                method="both_heads" if net.auxiliary else None,
                mutable=["batch_stats"],
                rngs={"noise": step_key(key, _NOISE, step)},
            )
            logits, auxiliary = output if net.auxiliary else (output, None)
            return logits, auxiliary, updated["batch_stats"]

        def attacked(images):
            variables = {"params": lax.stop_gradient(weights), "batch_stats": batch_stats}
            return net.apply(variables, images, None, config.attack_statistics)

        return Passes(train, attacked)

    def descend(state, gradient, batch_stats):
        updates, optimizer_state = descent.update(gradient, state.optimizer, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        average = state.average
        if average:
            # The average of few steps would remember the beginning, so it follows quickly at first.
            kept = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
            new = {"weights": weights, "batch_stats": batch_stats}
            average = jax.tree.map(lambda old, value: kept * old + (1 - kept) * value, average, new)
        return state.replace(weights=weights, batch_stats=batch_stats, optimizer=optimizer_state, average=average)

    def train_step(state, images, labels, key):
        epoch = state.step / steps_per_epoch
        images = augment.augmented(
            augment.pixels(images),
            step_key(key, _AUGMENTATION, state.step),
            crop_padding=config.crop_padding,
            flip=config.flip,
            cutout=config.cutout,
            fill=jnp.array(net.mean),
        )
        radius = config.radius * ramp(epoch + 1 / steps_per_epoch, config.radius_warmup_epochs)
        update = free_step if config.adversarial == "free" else plain_step
        state, loss, logits, gradient = update(state, images, labels, epoch, radius, key)
        # The cross-entropy alone can be compared with that of held-out images.
        metrics = {"train_loss": cross_entropy(logits, labels).mean(), "train_accuracy": accuracy(logits, labels)}
        metrics |= {"objective_loss": loss, "gradient": gradient}
        return state.replace(step=state.step + 1), metrics

    def plain_step(state, images, labels, epoch, radius, key):
        def loss_of(weights):
            views = passes(weights, state.batch_stats, epoch, key, state.step)
            attack_key = step_key(key, _ATTACK, state.step)
            return adversarial.loss(config, views, images, labels, state.batch_stats, radius, attack_key)

        (loss, (logits, batch_stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.weights)
        return descend(state, gradient, batch_stats), loss, logits, optax.tree.norm(gradient)

    def free_step(state, images, labels, epoch, radius, key):
        """Each gradient serves twice: the weights descend by it, the perturbation climbs (Shafahi et al. 2019)."""

        def replay(_, carried):
            state, *_ = carried

            def loss_of(weights, moved):
                views = passes(weights, state.batch_stats, epoch, key, state.step)
                return adversarial.plain_loss(config, views, moved, labels, state.batch_stats)

            moved = jnp.clip(images + state.perturbation["linf"], 0, 1)
            gradients = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(state.weights, moved)
            (loss, (logits, batch_stats)), (by_weights, by_images) = gradients
            climbed = jnp.clip(state.perturbation["linf"] + radius * jnp.sign(by_images), -radius, radius)
            state = descend(state, by_weights, batch_stats).replace(perturbation={"linf": climbed})
            return state, loss, logits, optax.tree.norm(by_weights)

        logits = jnp.zeros((len(images), net.classes))
        return lax.fori_loop(0, config.replays, replay, (state, jnp.zeros(()), logits, jnp.zeros(())))

    def evaluate(state, images, labels, key):
        images, variables = augment.pixels(images), evaluated_variables(state)
        logits = net.apply(variables, images)
        right = jnp.argmax(logits, axis=1) == labels
        robust = right
        if config.is_adversarial:
            options = {"norm": config.norm, "steps": config.val_attack_steps, "step_size": config.radius / 4}
            found = attacks.pgd(
                lambda x: net.apply(variables, x),
                images,
                labels,
                step_key(key, _VAL_ATTACK, 0),
                radius=config.radius,
                **options,
            )
            robust = right & ~found.success
        return cross_entropy(logits, labels), right, robust

    return Training(init, train_step, evaluate)
