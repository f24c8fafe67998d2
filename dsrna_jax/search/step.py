"""The bi-level search step: alphas by the hypergradient of loss - gamma * R, then weights by the gradient of the loss."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt8

from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.genotypes.search_spaces import groups_of
from dsrna_jax.losses import accuracy, cross_entropy
from dsrna_jax.measures.measure import configured
from dsrna_jax.measures.radius_schedules import RADIUS_SCHEDULES
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.path import PathNetwork
from dsrna_jax.runtime.compute_options import part_count
from dsrna_jax.runtime.microbatches import Averaged, over_parts
from dsrna_jax.runtime.options import with_arguments
from dsrna_jax.search import bilevel, curvature, mixing
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.losses import SupernetLosses
from dsrna_jax.search.optimizers import alpha_optimizer, weight_optimizer
from dsrna_jax.search.resources import resource_of
from dsrna_jax.search.state import SearchBatch, SearchState

Metrics = dict[str, Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class SearchFunctions(SupernetLosses):
    """The pure functions of a search, for the caller to jit: `init`, the steps, `evaluate`, `certify`, `eigenvalue`."""

    weight_optimizer: optax.GradientTransformation
    alpha_optimizer: optax.GradientTransformation

    def given(self, mean: Any, std: Any, numbers: Mapping[str, Any]) -> "SearchFunctions":
        """The functions with another mean and standard deviation of pixels, and other numbers in the configuration."""
        config = with_arguments(self.config, numbers)
        optimizer = weight_optimizer(config, self.steps_per_epoch)
        return dataclasses.replace(
            self, config=config, supernet=self.supernet.clone(mean=mean, std=std), weight_optimizer=optimizer
        )

    def init(self, key: PRNGKeyArray) -> SearchState:
        """The state before the first step."""
        weights_key, alphas_key = jax.random.split(key)
        variables = self.supernet.init(weights_key, jnp.zeros((1, *self.image_shape)))
        alphas = spaces.initial_alphas(alphas_key, self.config.space, self.config.nodes, cells=self.config.cells)
        kept = {kind: jnp.ones(alphas[kind].shape, bool) for kind in groups_of(alphas)} if self.config.prune_below else None
        if self.config.kept is not None:
            kept = jax.tree.map(jnp.asarray, self.config.kept)
        return SearchState(
            jnp.zeros((), jnp.int32),
            variables["params"],
            variables["batch_stats"],
            alphas,
            self.weight_optimizer.init(variables["params"]),
            self.alpha_optimizer.init(alphas),
            self._next_log_radius(jnp.log(jnp.float32(self.config.radius)), jnp.zeros(1), 1),
            kept,
        )

    def alpha_step(
        self, state: SearchState, train: SearchBatch, val: SearchBatch, key: PRNGKeyArray
    ) -> tuple[SearchState, Metrics]:
        """Moves the alphas by the hypergradient, and the radius by its schedule; batch statistics stay.

        A random mixture is one sample for the whole step.
        """
        noise = self.noise(state, key)

        def train_loss(part, key, weights, alphas):
            shares, dropout = self.shares(state, alphas, noise), self.dropout(state, key)
            return self.train_loss(weights, state.batch_stats, part, shares, alphas, dropout)[0]

        def objective(part, key, weights, alphas):
            return self.objective(weights, alphas, state, part, key, self.shares(state, alphas, noise))

        parts = part_count(self.config)
        gradient, (metrics, slack) = bilevel.hypergradient(self.config.order)(
            Averaged(train_loss, train, key if self.config.skip_dropout else None, parts),
            Averaged(objective, val, key, parts),
            lambda gradient: self._descended(state, gradient)[0],
            state.weights,
            state.alphas,
        )
        return self._searched(state, gradient, slack), batch_mean(metrics) | {"alpha_gradient": optax.tree.norm(gradient)}

    def weight_step(self, state: SearchState, train: SearchBatch, key: PRNGKeyArray | None = None) -> tuple[SearchState, Metrics]:
        """Moves weights and batch statistics by the gradient of the training loss, and counts the step.

        Args:
          key: of the mixtures, if they are random or perturbed, and of dropout.
        """
        gradient_of = jax.value_and_grad(self.train_loss, has_aux=True)
        shares = self.shares(state, state.alphas, self.noise(state, key))
        shares, of_perturbation = self.perturbed(state, train, key, shares)

        def means(part, key):
            dropout = self.dropout(state, key)
            value, gradient = gradient_of(state.weights, state.batch_stats, part, shares, state.alphas, dropout)
            loss, (logits, batch_stats) = value
            metrics = {"train_loss": loss, "train_accuracy": accuracy(logits, part.labels)}
            return (metrics, batch_stats, gradient), ()

        of_dropout = key if self.config.skip_dropout else None
        (metrics, batch_stats, gradient), _ = over_parts(means, train, of_dropout, part_count(self.config))
        gradient, metrics = batch_mean((gradient, metrics))
        weights, optimizer_state = self._descended(state, gradient)
        if dropout := self.dropout(state, key):
            metrics |= {"skip_dropout": dropout.rate}
        state = state.replace(step=state.step + 1, weights=weights, batch_stats=batch_stats, weight_optimizer=optimizer_state)
        return state, metrics | of_perturbation | {
            "weight_gradient": optax.tree.norm(ravel_pytree(gradient)[0])
        }  # flat, as the optimiser has it

    def joint_step(self, state: SearchState, train: SearchBatch, key: PRNGKeyArray) -> tuple[SearchState, Metrics]:
        """Moves weights and, after the warm-up, alphas by one sample of the mixtures and one batch, and counts the step.

        Weights by the gradient of the training loss, alphas by that of the same loss - gamma * R (SNAS: one level).
        """
        noise = self.noise(state, key)

        def loss(weights, alphas, part, key):
            shares = self.shares(state, alphas, noise)
            dropout, mutable = self.dropout(state, key), ["batch_stats", "moments"]
            logits, updated = self.forward(weights, state.batch_stats, alphas, part.images, mutable, shares, dropout)
            loss = cross_entropy(logits, part.labels).mean()
            moments = {"moments": updated["moments"]}
            rest, metrics, slack = self.regularizers(jax.lax.stop_gradient(weights), alphas, state, part, key, shares, moments)
            metrics |= {"train_loss": loss, "train_accuracy": accuracy(logits, part.labels)}
            return loss + rest, (metrics, updated["batch_stats"], slack)

        def means(part, key):
            gradients_of = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            (_, (metrics, batch_stats, slack)), gradients = gradients_of(state.weights, state.alphas, part, key)
            return (metrics, batch_stats, gradients), slack

        (metrics, batch_stats, gradients), slack = over_parts(means, train, key, part_count(self.config))
        (by_weights, by_alphas), metrics = batch_mean((gradients, metrics))
        searched = self._searched(state, by_alphas, slack)
        is_warm = self._alpha_steps_done(state.step) >= 0
        searched = jax.tree.map(lambda new, old: jnp.where(is_warm, new, old), searched, state)
        weights, optimizer_state = self._descended(state, by_weights)
        metrics |= {"alpha_gradient": optax.tree.norm(by_alphas), "weight_gradient": optax.tree.norm(ravel_pytree(by_weights)[0])}
        return searched.replace(
            step=state.step + 1, weights=weights, batch_stats=batch_stats, weight_optimizer=optimizer_state
        ), metrics

    def evaluate(self, state: SearchState, batch: SearchBatch) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
        """Loss of each image, and whether its class is predicted, by the running statistics."""
        logits = self.network_function(state)(batch.images)
        return cross_entropy(logits, batch.labels), jnp.argmax(logits, axis=1) == batch.labels

    @property
    def certifies(self) -> bool:
        """Whether the measure has certified radii, so that `certify` can be called."""
        return self.measure.log_certified_radius is not None

    def certify(self, state: SearchState, batch: SearchBatch) -> Float[Array, " batch"]:
        """Logarithm of a certified radius of the supernet around each image, by the running statistics: a lower bound."""
        log_certified_radius = self.measure.log_certified_radius
        assert log_certified_radius is not None, "this measure certifies nothing"
        log_start = jnp.log(jnp.float32(self.config.radius))
        return log_certified_radius(self.network_function(state), batch.images, batch.labels, log_start=log_start)

    def eigenvalue(self, state: SearchState, val: SearchBatch, key: PRNGKeyArray) -> Float[Array, ""]:
        """Largest eigenvalue of the Hessian of the validation loss by all alphas, with batch statistics as in alpha steps.

        The mixtures have no noise, and a share for every operation. Maps are of float32 in any precision: second derivatives need
        its digits.
        """
        supernet = self.supernet if self.config.precision == "float32" else self.supernet.clone(dtype=None)
        if isinstance(supernet, PathNetwork):
            supernet = supernet.clone(draws=False)
        exact = dataclasses.replace(self, supernet=supernet)

        def loss(part, _, alphas):
            shares = self.likely_shares(state, alphas, mixing.shares)
            return exact.train_loss(state.weights, state.batch_stats, part, shares, alphas)[0]

        return curvature.dominant_eigenvalue(Averaged(loss, val, None, part_count(self.config)), state.alphas, key)

    def augmented(
        self, images: UInt8[Array, "batch height width channel"], key: PRNGKeyArray
    ) -> Float[Array, "batch height width channel"]:
        """Images in [0, 1], randomly cropped, mirrored and cut out (to black) as configured."""
        return augment.augmented(augment.pixels(images), key, **self.config.augmentation)

    def _searched(self, state: SearchState, gradient, slack) -> SearchState:
        """The state after alphas have moved by their gradient, and the radius by its schedule; what is pruned follows."""
        updates, optimizer_state = self.alpha_optimizer.update(gradient, state.alpha_optimizer, state.alphas)
        moved = state.replace(
            alphas=optax.apply_updates(state.alphas, updates),
            alpha_optimizer=optimizer_state,
            log_radius=self._next_log_radius(state.log_radius, slack, self._alpha_steps_done(state.step) + 2),
        )
        if state.kept is None:
            return moved
        config, heat = self.config, self.temperature(state.step)
        return moved.replace(kept=mixing.pruned(config, moved.alphas, state.kept, heat, config.primitives))

    def _descended(self, state: SearchState, gradient):
        """Weights after an optimiser step by `gradient`, and the optimiser's state."""
        updates, optimizer_state = self.weight_optimizer.update(gradient, state.weight_optimizer, state.weights)
        return optax.apply_updates(state.weights, updates), optimizer_state

    def _alpha_steps_done(self, step):
        """Number of alpha steps before step number `step`; negative in the warm-up."""
        return step - self.config.warmup_epochs * self.steps_per_epoch

    def _next_log_radius(self, log_radius, slack, number):
        """Logarithm of the radius at which alpha step `number` (from 1) measures R."""
        total = max(1, (self.config.epochs - self.config.warmup_epochs) * self.steps_per_epoch)
        schedule = RADIUS_SCHEDULES[self.config.radius_schedule]
        return schedule(log_radius, slack, number / total, self.config.radius)


def search_functions(
    config: SearchConfig, supernet: network.Network, image_shape: tuple[int, int, int], steps_per_epoch: int
) -> SearchFunctions:
    """The functions of a search with the given supernet on images of `image_shape` (height, width, channel).

    Raises: InputError if a table of latencies does not fit (`resources.resource_of`).
    """
    return SearchFunctions(
        config,
        supernet,
        image_shape,
        steps_per_epoch,
        configured(config),
        resource_of(config, supernet, image_shape),
        weight_optimizer(config, steps_per_epoch),
        alpha_optimizer(config),
    )
