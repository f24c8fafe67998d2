"""The kinds of searches by their strategy: the functions that set one up, report its size and run it."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from dsrna_jax.search.sampled import STRATEGIES


class Kind(NamedTuple):
    """A kind of search.

    network: (config, image shape, classes, mean, std) -> the network that is searched.
    setup: (config, stand-in for the data) -> a setup.
    report: setup -> text.
    run: (config, path, resume, devices, file, log) -> genotype.
    """

    network: Callable[..., Any]
    setup: Callable[..., Any]
    report: Callable[[Any], str]
    run: Callable[..., Any]


# The homes of these functions.
_BY_GRADIENTS = tuple(
    f"dsrna_jax.search.{home}" for home in ("setup:searched_network", "setup:search_setup", "report:report", "run:run")
)
_SAMPLED = tuple(
    f"dsrna_jax.search.sampled.{home}" for home in ("setup:sampled_network", "setup:sampled_setup", "report:report", "run:run")
)


def kind_of(config: Any) -> Kind:
    """The kind of search that a configuration describes."""

    def function(home):
        module, _, name = home.partition(":")
        return getattr(importlib.import_module(module), name)

    return Kind(*map(function, _SAMPLED if STRATEGIES[config.strategy] else _BY_GRADIENTS))
