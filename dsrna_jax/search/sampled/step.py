"""The steps of a sampled search: a supernet learns on random sub-networks, and children are judged by its weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from dsrna_jax import attacks
from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.losses import accuracy, cross_entropy
from dsrna_jax.measures.measure import Measure, configured
from dsrna_jax.networks import network
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.networks.multiplications import expected_multiply_adds, path_multiply_adds
from dsrna_jax.networks.path import PathNetwork
from dsrna_jax.runtime.compute_options import part_count
from dsrna_jax.runtime.microbatches import over_parts
from dsrna_jax.runtime.optimizers import sgd
from dsrna_jax.runtime.options import with_arguments
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.optimizers import weight_optimizer
from dsrna_jax.search.options.sampled import objectives_of
from dsrna_jax.search.sampled import strategy
from dsrna_jax.search.sampled.coding import CODINGS, CellCoding, Code, RobNetCoding
from dsrna_jax.search.sampled.fsp import fsp_distance
from dsrna_jax.search.sampled.objectives import OBJECTIVES, Child
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import Metrics


class SampledState(flax.struct.PyTreeNode):
    """The state of a sampled search between two steps.

    codes: of the children of the current round, [child, position].
    values: of their objectives, [child, objective]; zero for those that are still to come.
    """

    step: jax.Array
    weights: Any
    batch_stats: Any
    weight_optimizer: Any
    strategy: Any
    codes: jax.Array
    values: jax.Array


@dataclasses.dataclass(frozen=True)
class SampledFunctions:
    """The pure functions of a sampled search, for the caller to jit."""

    config: SearchConfig
    supernet: network.Network
    image_shape: tuple[int, int, int]
    steps_per_epoch: int
    coding: CellCoding | RobNetCoding
    strategy: strategy.Strategy
    measure: Measure
    weight_optimizer: optax.GradientTransformation

    def given(self, mean: Any, std: Any, numbers: Mapping[str, Any]) -> "SampledFunctions":
        """The functions with another mean and standard deviation of pixels, and other numbers in the configuration."""
        config = with_arguments(self.config, numbers)
        optimizer = weight_optimizer(config, self.steps_per_epoch)
        return dataclasses.replace(
            self, config=config, supernet=self.supernet.clone(mean=mean, std=std), weight_optimizer=optimizer
        )

    def init(self, key: PRNGKeyArray) -> SampledState:
        """The state before the first step."""
        weights_key, strategy_key = jax.random.split(key)
        variables = self.supernet.init(weights_key, jnp.zeros((1, *self.image_shape)))
        children, objectives = self.config.round_size, len(objectives_of(self.config))
        return SampledState(
            jnp.zeros((), jnp.int32),
            variables["params"],
            variables["batch_stats"],
            self.weight_optimizer.init(variables["params"]),
            self.strategy.init(strategy_key),
            jnp.zeros((children, len(self.coding.choices)), jnp.int32),
            jnp.zeros((children, objectives)),
        )

    def weight_step(self, state: SampledState, train: SearchBatch, key: PRNGKeyArray) -> tuple[SampledState, Metrics]:
        """Moves weights and batch statistics by the gradient of the training loss of one uniform sub-network."""
        (code,) = strategy.uniform(key, 1, self.coding.choices)
        state, metrics = self._learnt(state, self.weight_optimizer, code, train, key)
        return state.replace(step=state.step + 1), metrics

    def tune(self, state: SampledState, number: Int[Array, ""], first: Bool[Array, ""], train: SearchBatch, key: PRNGKeyArray):
        """The state after a step of child `number` by itself, whose `first` step forgets the momentum of the supernet."""
        optimizer = sgd(
            lambda count: self.config.fine_tune_lr,
            clip=self.config.clip,
            weight_decay=self.config.weight_decay,
            momentum=self.config.momentum,
        )
        fresh = optimizer.init(state.weights)
        begun = jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, state.weight_optimizer)
        return self._learnt(state.replace(weight_optimizer=begun), optimizer, state.codes[number], train, key)[0]

    def _learnt(self, state: SampledState, optimizer, code: Code, train: SearchBatch, key) -> tuple[SampledState, Metrics]:
        """The state after a step of the optimiser by the training loss of a sub-network, under PGD if configured."""
        sub_network, config = self.sub_network(code), self.config

        def loss(weights, part):
            variables = {"params": weights, "batch_stats": state.batch_stats}
            logits, updated = self.supernet.apply(variables, part.images, sub_network, config.batch_norm, mutable=["batch_stats"])
            return cross_entropy(logits, part.labels).mean(), (logits, updated["batch_stats"])

        def means(part, key):
            if config.supernet_attack_steps:
                variables = {"params": state.weights, "batch_stats": state.batch_stats}
                logits_of = lambda x: self.supernet.apply(variables, x, sub_network, config.batch_norm)  # noqa: E731
                options = {"radius": config.attack_radius, "steps": config.supernet_attack_steps, "keep": "last"}
                part = part._replace(images=attacks.pgd(logits_of, *part, key, **options).x_adv)
            (value, (logits, batch_stats)), gradient = jax.value_and_grad(loss, has_aux=True)(state.weights, part)
            return ({"train_loss": value, "train_accuracy": accuracy(logits, part.labels)}, batch_stats, gradient), ()

        (metrics, batch_stats, gradient), _ = over_parts(means, train, key, part_count(config))
        gradient, metrics = batch_mean((gradient, metrics))
        updates, optimizer_state = optimizer.update(gradient, state.weight_optimizer, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        metrics |= {"weight_gradient": optax.tree.norm(ravel_pytree(gradient)[0])}
        return state.replace(weights=weights, batch_stats=batch_stats, weight_optimizer=optimizer_state), metrics

    def propose(self, state: SampledState, batch: SearchBatch, key: PRNGKeyArray) -> SampledState:
        """The state at the beginning of a round, with its children: of several candidates those of the least FSP distance."""
        if self.config.candidates == 1:
            codes = self.strategy.propose(state.strategy, key)
        else:
            keys = jax.random.split(key, self.config.candidates)
            codes = jnp.concatenate([self.strategy.propose(state.strategy, key) for key in keys])

            def distance(code):
                _, function = self.frozen(state, code, batch)
                options = {"radius": self.config.attack_radius, "steps": self.config.attack_steps}
                attacked = jnp.asarray(attacks.pgd(function, *batch, key, **options).x_adv)
                return batch_mean(fsp_distance(function, batch.images, attacked).mean())

            codes = codes[jnp.argsort(jax.lax.map(distance, codes))[: self.config.round_size]]
        return state.replace(codes=codes, values=jnp.zeros_like(state.values))

    def sub_network(self, code: Code) -> Any:
        """The argument that makes the supernet compute a sub-network: a path or, if all operations are computed, mixtures."""
        return self.coding.path(code) if isinstance(self.supernet, PathNetwork) else self.coding.mixtures(code)

    def frozen(self, state: SampledState, code: Code, batch: SearchBatch) -> tuple[Float[Array, "batch class"], NetworkFunction]:
        """Logits of a sub-network, and the function of it that has the statistics of this batch as constants."""
        variables, sub_network = {"params": state.weights, "batch_stats": state.batch_stats}, self.sub_network(code)
        logits, moments = self.supernet.apply(variables, batch.images, sub_network, self.config.batch_norm, mutable=["moments"])
        return logits, NetworkFunction(self.supernet, {**variables, **moments}, sub_network, "frozen")

    def judge(self, state: SampledState, number: Int[Array, ""], batch: SearchBatch, key: PRNGKeyArray) -> list[Any]:
        """The objectives of child `number` of the round, each a value for every image of the batch."""
        logits, function = self.frozen(state, state.codes[number], batch)
        sub_network: Any = function.mixtures
        if isinstance(self.supernet, PathNetwork):
            cost = path_multiply_adds(self.supernet, self.image_shape, sub_network)
        else:
            cost = expected_multiply_adds(self.supernet, self.image_shape, sub_network)
        child = Child(function, logits, batch.images, batch.labels, key, self.config, self.measure, cost)
        return [OBJECTIVES[name](child) for name in objectives_of(self.config)]

    def record(self, state: SampledState, number: Int[Array, ""], values: Float[Array, " objective"]) -> SampledState:
        """The state with the objectives of child `number`; with the last of a round the strategy observes all of them."""
        values = state.values.at[number].set(values)
        weights = jnp.array(list(objectives_of(self.config).values()), values.dtype)
        observed = self.strategy.observe(state.strategy, state.codes, (values * weights[None]).sum(axis=1))
        is_last = number == self.config.round_size - 1
        seen = jax.tree.map(lambda new, old: jnp.where(is_last, new, old), observed, state.strategy)
        return state.replace(step=state.step + 1, values=values, strategy=seen)

    def augmented(
        self, images: UInt8[Array, "batch height width channel"], key: PRNGKeyArray
    ) -> Float[Array, "batch height width channel"]:
        """Images in [0, 1], randomly cropped, mirrored and cut out (to black) as configured."""
        return augment.augmented(augment.pixels(images), key, **self.config.augmentation)


def sampled_functions(
    config: SearchConfig, supernet: network.Network, image_shape: tuple[int, int, int], steps_per_epoch: int
) -> SampledFunctions:
    """The functions of a sampled search with the given supernet on images of `image_shape` (height, width, channel)."""
    coding = CODINGS[config.space](config)
    return SampledFunctions(
        config,
        supernet,
        image_shape,
        steps_per_epoch,
        coding,
        strategy.configured(config, coding.choices),
        configured(config),
        weight_optimizer(config, steps_per_epoch),
    )
