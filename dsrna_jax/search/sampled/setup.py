"""The setup of a sampled search: data, supernet and functions, from its configuration."""

from typing import Any

from dsrna_jax.data import Dataset
from dsrna_jax.measures import MEASURES
from dsrna_jax.networks import network
from dsrna_jax.networks.path import path_network
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.timetable import Timetable
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.options.sampled import objectives_of
from dsrna_jax.search.sampled.step import SampledFunctions, sampled_functions
from dsrna_jax.search.setup import check_images, network_settings, search_setup, searched_network


class SampledSetup(RunSetup):
    """A sampled search that is ready to run: the supernet learns from "search_train", "search_val" judges the children."""

    config: SearchConfig
    functions: SampledFunctions

    @property
    def timetable(self) -> Timetable:
        """The epochs of the supernet, then the rounds of the strategy, whose steps are children."""
        config = self.config
        supernet, rounds = (config.epochs, self.steps_per_epoch), (config.children // config.round_size, config.round_size)
        return Timetable((supernet, rounds), ("steps", "children")) if config.epochs else Timetable((rounds,), ("children",))

    @property
    def summary(self) -> str:
        """The data, and the number of images in each part, in a line."""
        train, val = (len(self.parts[name]) for name in ("search_train", "search_val"))
        return f"{self.config.dataset}: {len(self.dataset)} images, {train} for the supernet, {val} to judge children"


def sampled_setup(config: SearchConfig, published: Dataset | None = None) -> SampledSetup:
    """The setup of a sampled search; arguments and errors are those of `search_setup`."""
    return search_setup(config, published, sampled_network, sampled_functions, SampledSetup)


def sampled_network(
    config: SearchConfig, image_shape: tuple[int, int, int], classes: int, mean: Any, std: Any
) -> network.Network:
    """The network of all paths or, where bounds are computed, which need a mixture of all operations, the supernet.

    Raises: InputError if images of that shape are too small for it.
    """
    if MEASURES[config.metric].bounds_stages and "robustness" in objectives_of(config):
        return searched_network(config, image_shape, classes, mean, std)
    check_images(config, image_shape)
    operations = [name for name in config.primitives if name != "none"]
    return path_network(operations, **network_settings(config, classes, mean, std))
