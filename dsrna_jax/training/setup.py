"""The setup of a training: data, network and functions, from its configuration."""

import dataclasses
from typing import Any

from dsrna_jax import genotypes
from dsrna_jax.data import Dataset, stratified_shares
from dsrna_jax.data.colours import check_colours
from dsrna_jax.data.loading import images_of, training_statistics
from dsrna_jax.data.splits import search_parts
from dsrna_jax.data.statistics import unknown_statistics
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks import network
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.stem import LEAST_SIDE
from dsrna_jax.runtime.compute_options import maps_type
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.step import TrainingFunctions, training_functions


@dataclasses.dataclass(frozen=True)
class TrainingSetup(RunSetup):
    """A training that is ready to run; its parts are "train" and "held_out"."""

    config: TrainingConfig
    functions: TrainingFunctions
    architecture: genotypes.Architecture

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration with the facts of the data, as JSON: enough to build the network again."""
        resolved = super().resolved
        data = resolved.pop("data")
        return {**resolved, "genotype": genotypes.to_json(self.architecture), "data": data}

    @property
    def summary(self) -> str:
        """The data, and the number of images in each part, in a line."""
        return f"{self.config.dataset}: {len(self.parts['train'])} images to train on, {len(self.parts['held_out'])} held out"


def training_setup(
    config: TrainingConfig,
    architecture: genotypes.Architecture | None = None,
    published: Dataset | None = None,
    shares: tuple[float, float] | None = None,
) -> TrainingSetup:
    """Loads the training split and builds the training on it.

    Args:
      architecture: trained in place of the one that `config.genotype` names.
      published: a stand-in for the training split, to plan with.
      shares: of the images for weights and for alphas in a search with that seed; trained on are then its search_train, and held
        out its search_val.
    Raises: InputError if data, architecture and configuration do not fit.
    """
    architecture = zoo.resolve(config.genotype) if architecture is None else architecture
    dataset = images_of(config, published=published)
    if shares:
        train, held_out = search_parts(dataset.strata, *shares, config.seed)
    else:
        held_out, train = stratified_shares(dataset.strata, config.held_out, config.seed)
    if config.held_out and not len(held_out):
        raise InputError(
            f"held_out={config.held_out} of {len(dataset)} training images of {config.dataset} is less than one image a class: "
            "expected a larger share, or 0"
        )
    if config.batch_size > len(train):
        raise InputError(
            f"batch_size={config.batch_size}: expected at most {len(train)}, as many as there are images of {config.dataset} "
            "to train on"
        )
    mean, std = unknown_statistics(published) if published else training_statistics(dataset, train)
    net = trained_network(config, architecture, dataset.classes, mean, std)
    check_fits(net, config, dataset.image_shape)
    steps_per_epoch = len(train) // config.batch_size
    functions = training_functions(config, net, dataset.image_shape, steps_per_epoch)
    parts = {"train": train, "held_out": held_out}
    return TrainingSetup(config, dataset, parts, net, functions, steps_per_epoch, architecture)


def trained_network(
    config: TrainingConfig, architecture: genotypes.Architecture, classes: int, mean: Any, std: Any
) -> network.Network:
    """The network that a configuration trains."""
    return derived_network(
        architecture,
        cells=config.cells,
        channels=config.channels,
        classes=classes,
        mean=tuple(mean),
        std=tuple(std),
        start=config.start,
        auxiliary=config.auxiliary_weight > 0,
        dtype=maps_type(config.precision),
        remat=config.remat,
    )


def check_fits(net: network.Network, config: TrainingConfig, image_shape: tuple[int, int, int]) -> None:
    """Raises: InputError unless images of that size are large enough for the network."""
    height, width, _ = image_shape
    check_colours(config, image_shape)
    least = LEAST_SIDE[config.start] + net.auxiliary
    if min(height, width) < least:
        also = " and the auxiliary head" if net.auxiliary else ""
        raise InputError(
            f"images of {config.dataset} are {width}x{height} pixels: expected at least {least}x{least} for two reductions{also} "
            f"with start={config.start}; give a larger image_size, to which they are resized"
        )
