"""The losses of a supernet in a step of a search, as functions of weights and alphas, and the mixtures at which it has them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.losses import accuracy, cross_entropy
from dsrna_jax.measures.measure import Measure
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.networks.parts import expected_cost
from dsrna_jax.networks.path import PathNetwork
from dsrna_jax.runtime.compute_options import part_count
from dsrna_jax.runtime.microbatches import over_parts
from dsrna_jax.search import mixing, perturbations, skip_dropout
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.derived import derived_mixtures
from dsrna_jax.search.gamma import gamma_of
from dsrna_jax.search.perturbations import PERTURBATIONS, Shares
from dsrna_jax.search.resources import Resource
from dsrna_jax.search.skip_dropout import Dropout
from dsrna_jax.search.state import SearchBatch, SearchState


@dataclasses.dataclass(frozen=True)
class SupernetLosses:
    """A supernet with the settings of a search: its losses and, in a given state, its mixtures."""

    config: SearchConfig
    supernet: network.Network
    image_shape: tuple[int, int, int]
    steps_per_epoch: int
    measure: Measure
    resource: Resource | None

    def train_loss(self, weights, batch_stats, batch: SearchBatch, shares: Shares, alphas, dropout: Dropout | None = None):
        """Mean cross-entropy of a batch, by batch statistics: (loss, (logits, new running statistics)).

        Args:
          shares: of the operations of an edge.
          alphas: for the weights of edges, if the space has them.
        """
        logits, updated = self.forward(weights, batch_stats, alphas, batch.images, ["batch_stats"], shares, dropout)
        return cross_entropy(logits, batch.labels).mean(), (logits, updated["batch_stats"])

    def objective(self, weights, alphas, state: SearchState, batch: SearchBatch, key: PRNGKeyArray, shares: Shares):
        """Validation loss - gamma * R (Eq. 16), with (metrics, slack) of the measure."""
        dropout = self.dropout(state, key)
        logits, moments = self.forward(weights, state.batch_stats, alphas, batch.images, ["moments"], shares, dropout)
        loss = cross_entropy(logits, batch.labels).mean()
        rest, metrics, slack = self.regularizers(weights, alphas, state, batch, key, shares, moments)
        return loss + rest, ({"val_batch_loss": loss, "val_batch_accuracy": accuracy(logits, batch.labels)} | metrics, slack)

    def regularizers(self, weights, alphas, state, batch, key, shares, moments):
        """-gamma * R and the penalty of a resource, with (metrics, slack) of the measure.

        R is computed for each image by itself, with the statistics of this batch, `moments`, as constants. That of the derived
        cells has statistics of its own, those of the same batch there.
        """
        variables, mixtures = {"params": weights, "batch_stats": state.batch_stats}, self._mixtures(alphas, shares)
        if self.config.metric_network == "derived":
            mixtures = derived_mixtures(alphas, self.config.nodes, self.config.primitives, state.kept)
            _, moments = self.supernet.apply(variables, batch.images, mixtures, self.config.batch_norm, mutable=["moments"])
        function = NetworkFunction(self.supernet, {**variables, **moments}, mixtures, "frozen")
        measured = self.measure.apply(function, batch.images, batch.labels, key, log_radius=state.log_radius)
        gamma = gamma_of(self.config, state.step // self.steps_per_epoch)
        metrics, value = self.measure.metrics(measured, state.log_radius), -gamma * measured.robustness.mean()
        if self.resource is not None:
            mixtures, cost_of = self._mixtures(alphas, shares), self.resource.costs.__getitem__
            expected = expected_cost(self.supernet, self.image_shape, mixtures, cost_of)
            value += self.config.resource_weight * jnp.log(expected)
            metrics |= {self.resource.metric: expected}
        return value, metrics, measured.slack

    def noise(self, state: SearchState, key: PRNGKeyArray | None) -> mixing.Rows | None:
        """Gumbel noise of a step's mixtures; None if they are not random."""
        if self.config.mixture == "softmax":
            return None
        assert key is not None, "random mixtures need a key"
        return mixing.gumbel_noise(jax.random.fold_in(key, 1), state.alphas)

    def shares(self, state: SearchState, alphas, noise: mixing.Rows | None) -> Shares:
        """Shares of the operations on the edges in a step, as a function of the alphas."""
        if mixing.is_plain(self.config):
            return spaces.shares(alphas)
        return mixing.MIXTURES[self.config.mixture](alphas, self.temperature(state.step), noise, state.kept)

    def likely_shares(self, state: SearchState, alphas, rule) -> Shares:
        """Shares without noise, by a rule such as those of `MIXTURES`, at the temperature of the last step."""
        if mixing.is_plain(self.config):
            return spaces.shares(alphas)
        return rule(alphas, self.temperature(jnp.maximum(state.step - 1, 0)), None, state.kept)

    def perturbed(self, state: SearchState, train: SearchBatch, key: PRNGKeyArray | None, shares: Shares):
        """Perturbed shares for a weight step and their metrics; `shares` and no metrics if nothing is perturbed."""
        config, perturb = self.config, PERTURBATIONS[self.config.perturbation]
        if perturb is None or config.perturbation_start == config.perturbation_radius == 0:
            return shares, {}
        assert key is not None, "a perturbation needs a key"
        variables = {"params": state.weights, "batch_stats": state.batch_stats}

        def loss_and_gradient(shares):
            def of_part(part, _):
                def loss(shares):
                    network_function = NetworkFunction(self.supernet, variables, self._mixtures(state.alphas, shares), "running")
                    return cross_entropy(network_function(part.images), part.labels).mean()

                return jax.value_and_grad(loss)(shares), ()

            return batch_mean(over_parts(of_part, train, None, part_count(config))[0])

        epoch = state.step // self.steps_per_epoch
        radius = perturbations.radius(epoch, config.epochs, config.perturbation_start, config.perturbation_radius)
        perturbed = perturb(loss_and_gradient, shares, key, radius, config.perturbation_steps, state.kept)
        return perturbed, {"perturbation_radius": radius}

    def temperature(self, step):
        return mixing.temperature(self.config, step // self.steps_per_epoch, self.config.epochs)

    def dropout(self, state: SearchState, key: PRNGKeyArray | None) -> Dropout | None:
        """The dropout of identities in a step; None without any."""
        config = self.config
        if not config.skip_dropout:
            return None
        assert key is not None, "dropout needs a key"
        rate = skip_dropout.rate(state.step // self.steps_per_epoch, config.epochs, config.warmup_epochs, config.skip_dropout)
        return Dropout(rate, jax.random.fold_in(key, 2))

    def network_function(self, state: SearchState) -> NetworkFunction:
        """The supernet with the running statistics and mixtures without noise, as in evaluations."""
        variables = {"params": state.weights, "batch_stats": state.batch_stats}
        shares = self.likely_shares(state, state.alphas, mixing.MIXTURES[self.config.mixture])
        return NetworkFunction(self.supernet, variables, self._mixtures(state.alphas, shares), "running")

    def _mixtures(self, alphas, shares) -> Any:
        if isinstance(self.supernet, PathNetwork):
            return self.supernet.mixture(shares, self.config.primitives)
        config = self.config
        return spaces.mixtures(alphas, config.nodes, config.primitives, shares, config.kept, space=config.space)

    def forward(self, weights, batch_stats, alphas, images, mutable, shares, dropout: Dropout | None = None):
        variables, mixtures = {"params": weights, "batch_stats": batch_stats}, self._mixtures(alphas, shares)
        supernet, rngs = self.supernet, None
        if dropout is not None:
            supernet, rngs = supernet.clone(skip_dropout=dropout.rate), {"skip_dropout": dropout.key}
        return supernet.apply(variables, images, mixtures, self.config.batch_norm, mutable=mutable, rngs=rngs)
