"""The setup of a search: data, supernet and functions, from its configuration."""

from collections.abc import Callable
from typing import Any

from dsrna_jax.data import Dataset
from dsrna_jax.data.colours import check_colours
from dsrna_jax.data.loading import images_of, training_statistics
from dsrna_jax.data.splits import search_parts
from dsrna_jax.data.statistics import unknown_statistics
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.search_spaces import search_space
from dsrna_jax.measures import MEASURES
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.path import path_network
from dsrna_jax.networks.stem import LEAST_SIDE
from dsrna_jax.runtime.compute_options import maps_type
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.step import SearchFunctions, search_functions


class SearchSetup(RunSetup):
    """A search that is ready to run; its parts are "search_train" and "search_val", its network is the supernet."""

    config: SearchConfig
    functions: SearchFunctions

    @property
    def resolved(self) -> dict[str, Any]:
        resolved, resource = super().resolved, self.functions.resource
        if resource is not None and resource.digest is not None:
            resolved["data"]["latency_table"] = resource.digest  # decides what is searched as the images do
        return resolved

    @property
    def identity(self) -> Any:
        return *super().identity, self.functions.resource

    @property
    def summary(self) -> str:
        """The data, and the number of images in each part, in a line."""
        shares = (self.config.train_share, self.config.val_share)
        weights, alphas = ("half of them", "half") if shares == (0.5, 0.5) else map(len, self.parts.values())
        return f"{self.config.dataset}: {len(self.dataset)} images, {weights} for the weights, {alphas} for the alphas"


def search_setup(
    config: SearchConfig,
    published: Dataset | None = None,
    network_of: Callable[..., network.Network] | None = None,
    functions_of: Callable[..., Any] = search_functions,
    kind: type[RunSetup] = SearchSetup,
) -> Any:
    """Loads the training split and builds the search on it.

    Args:
      published: a stand-in for the training split, to plan with.
      network_of: makes the supernet, with the arguments of `searched_network`, which does by default.
      functions_of: makes the functions of the search, with the arguments of `search_functions`.
      kind: the class of the setup.
    Raises: InputError if data and configuration do not fit.
    """
    dataset = images_of(config, published=published)
    search_train, search_val = search_parts(dataset.strata, config.train_share, config.val_share, config.seed)
    halves = {"search_train": search_train, "search_val": search_val}
    most = min(map(len, halves.values()))
    if config.batch_size > most:
        share = min(config.train_share, config.val_share)
        raise InputError(
            f"batch_size={config.batch_size}: expected at most {most}, {'half' if share == 0.5 else f'{share:g}'} of the "
            f"{len(dataset)} training images of {config.dataset}, because weights and alphas learn from parts of their own"
        )
    mean, std = unknown_statistics(published) if published else training_statistics(dataset, halves["search_train"])
    supernet = (network_of or searched_network)(config, dataset.image_shape, dataset.classes, mean, std)
    steps_per_epoch = len(halves["search_train"]) // config.batch_size
    functions = functions_of(config, supernet, dataset.image_shape, steps_per_epoch)
    return kind(config, dataset, halves, supernet, functions, steps_per_epoch)


def searched_network(
    config: SearchConfig, image_shape: tuple[int, int, int], classes: int, mean: Any, std: Any
) -> network.Network:
    """The supernet of a configuration, or the network of paths if its steps draw one. Raises: InputError for too small images."""
    check_images(config, image_shape)
    settings = network_settings(config, classes, mean, std)
    if draws_paths(config):
        return path_network([name for name in config.primitives if name != "none"], draws=True, **settings)
    return spaces.supernet(config.space, kept=config.kept, **settings)


def draws_paths(config: SearchConfig) -> bool:
    """Whether steps compute the operations that they draw, and no others.

    Bounds need a mixture of all operations, and so does all that moves or counts the shares of operations that are not drawn.
    Cells of partial channels, and weights of edges, are no paths.
    """
    space = search_space(config.space)
    needs_all = MEASURES[config.metric].bounds_stages or config.metric_network == "derived" or config.perturbation != "none"
    needs_all = needs_all or config.resource_weight or config.skip_dropout
    has_paths = space.partial == 1 and not space.has_edge_logits and not config.operations
    return config.mixture == "hard_gumbel" and has_paths and not needs_all


def check_images(config: SearchConfig, image_shape: tuple[int, int, int]) -> None:
    """Raises: InputError if images of that shape are too small for the supernet, or have other colours than configured."""
    height, width, _ = image_shape
    check_colours(config, image_shape)
    if min(height, width) < (least := LEAST_SIDE[config.start]):
        raise InputError(
            f"images of {config.dataset} are {width}x{height} pixels: expected at least {least}x{least}, because two reductions "
            f"halve them with start={config.start}; give a larger image_size, to which they are resized"
        )


def network_settings(config: SearchConfig, classes: int, mean: Any, std: Any) -> dict[str, Any]:
    """The settings of the network of a search that do not depend on its space."""
    return {
        "nodes": config.nodes,
        "cells": config.cells,
        "channels": config.channels,
        "classes": classes,
        "mean": mean,
        "std": std,
        "start": config.start,
        "dtype": maps_type(config.precision),
        "remat": config.remat,
    }
