"""The training step of a derived network: standard or adversarial, the attack inside the compiled step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from dsrna_jax import attacks
from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_mean, own, whole
from dsrna_jax.losses import TOP_5_FROM, accuracy, cross_entropy, in_top_5
from dsrna_jax.networks import network
from dsrna_jax.runtime.compute_options import part_count
from dsrna_jax.runtime.microbatches import over_parts
from dsrna_jax.runtime.optimizers import sgd
from dsrna_jax.runtime.options import with_arguments
from dsrna_jax.runtime.streams import step_key
from dsrna_jax.training import adversarial
from dsrna_jax.training.adversarial import Passes
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.schedules import learning_rate, ramp

_AUGMENTATION, _PATHS, _ATTACK, _NOISE, _VAL_ATTACK = range(5)  # streams of randomness

Images = UInt8[Array, "batch height width channel"]
Labels = Int[Array, " batch"]


class TrainingState(flax.struct.PyTreeNode):
    """The state of a training between two steps.

    average: exponential moving averages of weights and batch statistics, or {}.
    perturbation: of the images of a batch, which `free` training carries over to the next batch, or {}.
    """

    step: jax.Array
    weights: Any
    batch_stats: Any
    optimizer: Any
    average: dict[str, Any]
    perturbation: dict[str, jax.Array]


def optimizer(config: TrainingConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """SGD as in DARTS, at the configured learning rate; `free` training makes several updates a step."""
    replays = config.replays if config.adversarial == "free" else 1
    rate = lambda count: learning_rate(config, count // replays, steps_per_epoch)  # noqa: E731
    return sgd(rate, clip=config.clip, weight_decay=config.weight_decay, momentum=config.momentum)


def evaluated_variables(state: TrainingState) -> dict[str, Any]:
    """The variables for evaluation and deployment: the averages if they are kept, else the weights."""
    chosen = state.average or {"weights": state.weights, "batch_stats": state.batch_stats}
    return {"params": chosen["weights"], "batch_stats": chosen["batch_stats"]}


@dataclasses.dataclass(frozen=True)
class TrainingFunctions:
    """The pure functions of a training, for the caller to jit: `init`, `train_step`, `evaluate`."""

    config: TrainingConfig
    network: network.Network
    image_shape: tuple[int, int, int]
    steps_per_epoch: int
    optimizer: optax.GradientTransformation

    def given(self, mean: Any, std: Any, numbers: Mapping[str, Any]) -> "TrainingFunctions":
        """The functions with another mean and standard deviation of pixels, and other numbers in the configuration."""
        config = with_arguments(self.config, numbers)
        own = optimizer(config, self.steps_per_epoch)
        return dataclasses.replace(self, config=config, network=self.network.clone(mean=mean, std=std), optimizer=own)

    def init(self, key: PRNGKeyArray) -> TrainingState:
        """The state before the first step."""
        variables = self.network.init(key, jnp.zeros((1, *self.image_shape)))
        weights, batch_stats = variables["params"], variables["batch_stats"]
        average = {"weights": weights, "batch_stats": batch_stats} if self.config.ema else {}
        zeros = jnp.zeros((self.config.batch_size, *self.image_shape))
        perturbation = {"linf": zeros} if self.config.adversarial == "free" else {}
        return TrainingState(jnp.zeros((), jnp.int32), weights, batch_stats, self.optimizer.init(weights), average, perturbation)

    def train_step(
        self, state: TrainingState, images: Images, labels: Labels, key: PRNGKeyArray
    ) -> tuple[TrainingState, dict[str, Float[Array, ""]]]:
        """Moves the state by one batch: augmented, and attacked if the training is adversarial."""
        config, epoch = self.config, state.step // self.steps_per_epoch
        augmented = augment.augmented(
            augment.pixels(images),
            step_key(key, _AUGMENTATION, state.step),
            **config.augmentation,
            fill=jnp.array(self.network.mean),
        )
        radius = config.radius * ramp(state.step + 1, config.radius_warmup_epochs * self.steps_per_epoch)
        update = self._free_update if config.adversarial == "free" else self._update
        state, loss, logits, gradient = update(state, augmented, labels, epoch, radius, key)
        # Without smoothing, auxiliary head and regularisers, so that it compares with the loss on held-out images.
        metrics = {"train_loss": cross_entropy(logits, labels).mean(), "train_accuracy": accuracy(logits, labels)}
        metrics |= {"objective_loss": loss}
        return state.replace(step=state.step + 1), batch_mean(metrics) | {"gradient": gradient}

    def evaluate(
        self, state: TrainingState, images: Images, labels: Labels, key: PRNGKeyArray
    ) -> tuple[Float[Array, " batch"] | Bool[Array, " batch"], ...]:
        """Loss of each image, whether its class is predicted, and whether it still is under PGD (if training is adversarial).

        With `losses.TOP_5_FROM` classes or more also whether its class is among the first five.
        """
        config, pixels, variables = self.config, augment.pixels(images), evaluated_variables(state)
        logits = self._logits(variables, pixels)
        right = jnp.argmax(logits, axis=1) == labels
        robust = right
        if config.is_adversarial:
            attacked = attacks.pgd(
                lambda x: self._logits(variables, x),
                pixels,
                labels,
                step_key(key, _VAL_ATTACK, 0),
                radius=config.radius,
                norm=config.norm,
                steps=config.val_attack_steps,
                step_size=config.radius / 4,
            )
            robust = right & ~attacked.success
        top_5 = [in_top_5(logits, labels)] if self.network.classes >= TOP_5_FROM else []
        return cross_entropy(logits, labels), right, robust, *top_5

    def _logits(self, variables, images) -> Any:
        """Logits by the running statistics."""
        return self.network.apply(variables, images)

    def _update(self, state: TrainingState, images, labels, epoch, radius, key):
        """One step of the optimiser: (state, loss, logits, norm of the gradient)."""

        def values(part, key):
            images, labels = part

            def loss_of(weights):
                passes = self._passes(weights, state.batch_stats, epoch, key, state.step)
                attack_key = step_key(key, _ATTACK, state.step)
                return adversarial.loss(self.config, passes, images, labels, state.batch_stats, attack_key, radius=radius)

            (loss, (logits, batch_stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.weights)
            return (loss, batch_stats, gradient), logits

        means, logits = over_parts(values, (images, labels), key, part_count(self.config))
        loss, batch_stats, gradient = means
        gradient = batch_mean(gradient)
        return self._descended(state, gradient, batch_stats), loss, logits, optax.tree.norm(gradient)

    def _free_update(self, state: TrainingState, images, labels, epoch, radius, key):
        """Replays of one batch: each gradient updates the weights and the perturbation (Shafahi et al. 2019)."""

        def replay(_, carried):
            (state, perturbation), *_ = carried

            def values(part, key):
                moved, labels = part

                def loss_of(weights, moved):
                    passes = self._passes(weights, state.batch_stats, epoch, key, state.step)
                    return adversarial.plain_loss(self.config, passes, moved, labels, state.batch_stats)

                gradients = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(state.weights, moved)
                (loss, (logits, batch_stats)), (by_weights, by_images) = gradients
                return (loss, batch_stats, by_weights), (logits, by_images)

            moved = jnp.clip(images + perturbation, 0, 1)
            means, (logits, by_images) = over_parts(values, (moved, labels), key, part_count(self.config))
            loss, batch_stats, by_weights = means
            by_weights = batch_mean(by_weights)
            perturbation = jnp.clip(perturbation + radius * jnp.sign(by_images), -radius, radius)
            state = self._descended(state, by_weights, batch_stats)
            return (state, perturbation), loss, logits, optax.tree.norm(by_weights)

        begin, logits = (state, own(state.perturbation["linf"])), jnp.zeros((len(images), self.network.classes))
        end = lax.fori_loop(0, self.config.replays, replay, (begin, jnp.zeros(()), logits, jnp.zeros(())))
        (state, perturbation), *others = end
        return state.replace(perturbation={"linf": whole(perturbation)}), *others

    def _descended(self, state: TrainingState, gradient, batch_stats) -> TrainingState:
        """The state after an optimiser step by `gradient`, with new batch statistics and average."""
        updates, optimizer_state = self.optimizer.update(gradient, state.optimizer, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        average = state.average
        if average:
            # At first the average follows quickly, so that it does not remember the initial weights.
            kept = jnp.minimum(self.config.ema, (1 + state.step) / (10 + state.step))
            new = {"weights": weights, "batch_stats": batch_stats}
            average = jax.tree.map(lambda old, value: kept * old + (1 - kept) * value, average, new)
        return state.replace(weights=weights, batch_stats=batch_stats, optimizer=optimizer_state, average=average)

    def _passes(self, weights, batch_stats, epoch, key, step) -> Passes:
        """The forward passes of one step; drop path removes the same branches in all of them."""
        rate = self.config.drop_path * epoch / self.config.epochs

        def train(images, batch_stats):
            paths = None
            if self.config.drop_path:
                paths = network.drop_paths(self.network, step_key(key, _PATHS, step), rate, len(images))
            output, updated = self.network.apply(
                {"params": weights, "batch_stats": batch_stats},
                images,
                None,
                self.config.batch_norm,
                paths,
                method="both_heads" if self.network.auxiliary else None,
                mutable=["batch_stats"],
                rngs={"noise": step_key(key, _NOISE, step)},
            )
            logits, auxiliary = output if self.network.auxiliary else (output, None)
            return logits, auxiliary, updated["batch_stats"]

        def attacked(images):
            variables = {"params": lax.stop_gradient(weights), "batch_stats": batch_stats}
            statistics = self.config.batch_norm if self.config.attack_statistics == "batch" else "running"
            return self.network.apply(variables, images, None, statistics)

        return Passes(train, attacked)


def training_functions(
    config: TrainingConfig, net: network.Network, image_shape: tuple[int, int, int], steps_per_epoch: int
) -> TrainingFunctions:
    """The functions of a training of `net` on images of `image_shape` (height, width, channel)."""
    return TrainingFunctions(config, net, image_shape, steps_per_epoch, optimizer(config, steps_per_epoch))
