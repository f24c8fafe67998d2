"""What a training configuration means for its data: who is trained on, who is held out, the network, its functions."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from dsrna_jax import network, programs, sharding, zoo
from dsrna_jax.data import Dataset, batch_indices, load, stratified_shares
from dsrna_jax.errors import InputError
from dsrna_jax.task import channel_statistics
from dsrna_jax.training import Training, make_training
from dsrna_jax.training_config import TrainingConfig


class TrainingTask(NamedTuple):
    """A training that is ready to run; `parts`, "train" and "held_out", are indices into the training split."""

    config: TrainingConfig
    architecture: zoo.Architecture
    dataset: Dataset
    parts: dict[str, np.ndarray]
    network: network.Network
    training: Training
    steps_per_epoch: int

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration with what the data decided, as JSON: whoever has it can build the network again."""
        data = {
            "examples": len(self.dataset),
            "image_shape": list(self.dataset.image_shape),
            "class_names": list(self.dataset.class_names),
            "mean": list(self.network.mean),
            "deviation": list(self.network.deviation),
        }
        architecture = zoo.to_json(self.architecture)
        return {"experiment": "training", "config": dataclasses.asdict(self.config), "genotype": architecture, "data": data}

    @property
    def summary(self) -> str:
        """What is done with which data, in a line."""
        return f"{self.config.dataset}: {len(self.parts['train'])} images to train on, {len(self.parts['held_out'])} held out"

    def batch(self, step: int) -> np.ndarray:
        """Indices [batch] into the training split of batch number `step`."""
        indices = self.parts["train"]
        return indices[batch_indices(step, self.config.batch_size, len(indices), self.config.seed, "train")]


class Functions(NamedTuple):
    """What is compiled, before it is; `key` is that of the whole run.

    train_step(state, examples, indices, key) -> (state, metrics)
    evaluate(state, examples, indices, counts, key) -> sums over those that count: loss, right, right under attack.
    """

    train_step: Callable
    evaluate: Callable


def training_task(config: TrainingConfig, architecture: zoo.Architecture | None = None) -> TrainingTask:
    """Loads the training split and builds the training on it.

    Args:
      architecture: what is trained, if it is not to be looked up by `config.genotype`.
    Raises: InputError if data, architecture and configuration do not fit.
    """
    architecture = zoo.resolve(config.genotype) if architecture is None else architecture
    dataset = load(config.dataset, "train", config.data_dir or None, config.image_size)
    held_out, train = stratified_shares(dataset.labels, config.held_out, config.seed)
    if config.held_out and not len(held_out):
        raise InputError(
            f"held_out={config.held_out} of {len(dataset)} training images of {config.dataset} is none of any class: "
            "expected a larger share, or 0"
        )
    if config.batch_size > len(train):
        raise InputError(
            f"batch_size={config.batch_size}: expected at most {len(train)}, as many as there are images of {config.dataset} "
            "to train on"
        )
    mean, deviation = channel_statistics(dataset.images[train])
    net = trained_network(config, architecture, dataset.classes, mean, deviation)
    check_fits(net, config, dataset.image_shape)
    steps_per_epoch = len(train) // config.batch_size
    training = make_training(config, net, dataset.image_shape, steps_per_epoch)
    return TrainingTask(config, architecture, dataset, {"train": train, "held_out": held_out}, net, training, steps_per_epoch)


def trained_network(config: TrainingConfig, architecture, classes: int, mean, deviation) -> network.Network:
    """The network that a configuration trains."""
    return network.derived(
        architecture,
        cells=config.cells,
        channels=config.channels,
        classes=classes,
        mean=tuple(mean),
        deviation=tuple(deviation),
        start=config.start,
        auxiliary=config.auxiliary_weight > 0,
    )


def check_fits(net: network.Network, config: TrainingConfig, image_shape: tuple[int, int, int]) -> None:
    """Raises: InputError unless images of that size are large enough for the network."""
    height, width, _ = image_shape
    least = {"cifar": 4, "imagenet": 32}[config.start] + net.auxiliary
    if min(height, width) < least:
        also = " and the auxiliary head" if net.auxiliary else ""
        raise InputError(
            f"images of {config.dataset} are {width}x{height} pixels: expected at least {least}x{least} for two reductions{also} "
            f"with start={config.start}; give a larger image_size, to which they are resized"
        )


def functions(training: Training, mesh: Mesh) -> Functions:
    """The functions of a training on batches given by indices [batch], split over the devices of `mesh`."""

    def gathered(examples, indices):
        return lax.with_sharding_constraint(examples.images[indices], sharding.split(mesh)), examples.labels[indices]

    def train_step(state, examples, indices, key):
        return training.train_step(state, *gathered(examples, indices), key)

    def evaluate(state, examples, indices, counts, key):
        values = training.evaluate(state, *gathered(examples, indices), key)
        return tuple(jnp.sum(jnp.where(counts, value, 0)) for value in values)

    return Functions(train_step, evaluate)


def arguments(task: TrainingTask, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each of the `Functions`."""
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    state = programs.placed(jax.eval_shape(task.training.init, jax.random.key(0)), whole)
    data = programs.placed(programs.Examples(task.dataset.images, task.dataset.labels), whole)
    key = programs.placed(jax.eval_shape(lambda: jax.random.key(0)), whole)
    indices, counts = (jax.ShapeDtypeStruct((task.config.batch_size,), dtype, sharding=split) for dtype in (jnp.int32, jnp.bool_))
    return {"train_step": (state, data, indices, key), "evaluate": (state, data, indices, counts, key)}
