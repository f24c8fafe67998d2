"""What a configuration means for its data: the two halves, the supernet, and the functions of the search."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.data import Dataset, batch_indices, load, search_halves
from dsrna_jax.data.statistics import channel_statistics
from dsrna_jax.errors import InputError
from dsrna_jax.networks import network, spaces
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.step import Search, make_search


class Task(NamedTuple):
    """A search that is ready to run; `halves` are indices into the training split."""

    config: SearchConfig
    dataset: Dataset
    halves: dict[str, np.ndarray]
    supernet: network.Network
    search: Search
    steps_per_epoch: int

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration with what the data decided, as JSON: whoever has it can build the network again."""
        data = {
            "examples": len(self.dataset),
            "image_shape": list(self.dataset.image_shape),
            "class_names": list(self.dataset.class_names),
            "mean": list(self.supernet.mean),
            "std": list(self.supernet.std),
        }
        return {"experiment": "search", "config": dataclasses.asdict(self.config), "data": data}

    @property
    def summary(self) -> str:
        """What is done with which data, in a line."""
        return f"{self.config.dataset}: {len(self.dataset)} images, half of them for the weights, half for the alphas"

    def batch(self, half: str, step: int) -> np.ndarray:
        """Indices [batch] into the training split of batch number `step` from "search_train" or "search_val"."""
        indices = self.halves[half]
        return indices[batch_indices(step, self.config.batch_size, len(indices), self.config.seed, half)]


def task(config: SearchConfig) -> Task:
    """Loads the training split and builds the search on it. Raises: InputError if data and configuration do not fit."""
    dataset = load(config.dataset, "train", config.data_dir or None, config.image_size)
    halves = dict(zip(("search_train", "search_val"), search_halves(dataset.labels, config.seed), strict=True))
    most = min(map(len, halves.values()))
    if config.batch_size > most:
        raise InputError(
            f"batch_size={config.batch_size}: expected at most {most}, half of the {len(dataset)} training images of "
            f"{config.dataset}, because weights and alphas learn from one half each"
        )
    mean, std = channel_statistics(dataset.images[halves["search_train"]])
    supernet = searched_network(config, dataset.image_shape, dataset.classes, mean, std)
    steps_per_epoch = len(halves["search_train"]) // config.batch_size
    search = make_search(config, supernet, dataset.image_shape, steps_per_epoch)
    return Task(config, dataset, halves, supernet, search, steps_per_epoch)


def searched_network(config: SearchConfig, image_shape: tuple[int, int, int], classes: int, mean, std) -> network.Network:
    """The supernet of a configuration. Raises: InputError if images of that shape are too small for it."""
    height, width, _ = image_shape
    if min(height, width) < 4:
        raise InputError(
            f"images of {config.dataset} are {width}x{height} pixels: expected at least 4x4, because two reductions "
            "halve them; give a larger image_size, to which they are resized"
        )
    return spaces.supernet(
        config.space,
        nodes=config.nodes,
        cells=config.cells,
        channels=config.channels,
        classes=classes,
        mean=mean,
        std=std,
    )
