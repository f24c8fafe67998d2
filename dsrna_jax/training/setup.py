"""What a training configuration means for its data: who is trained on, who is held out, the network, its functions."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.data import Dataset, batch_indices, load, stratified_shares
from dsrna_jax.data.statistics import channel_statistics
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks import network
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.step import Training, make_training


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
            "std": list(self.network.std),
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
    mean, std = channel_statistics(dataset.images[train])
    net = trained_network(config, architecture, dataset.classes, mean, std)
    check_fits(net, config, dataset.image_shape)
    steps_per_epoch = len(train) // config.batch_size
    training = make_training(config, net, dataset.image_shape, steps_per_epoch)
    return TrainingTask(config, architecture, dataset, {"train": train, "held_out": held_out}, net, training, steps_per_epoch)


def trained_network(config: TrainingConfig, architecture, classes: int, mean, std) -> network.Network:
    """The network that a configuration trains."""
    return network.derived(
        architecture,
        cells=config.cells,
        channels=config.channels,
        classes=classes,
        mean=tuple(mean),
        std=tuple(std),
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
