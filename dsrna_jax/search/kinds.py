"""The kinds of searches by their strategy: what sets one up, reports its size and runs it."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from dsrna_jax.search.sampled import STRATEGIES


class SearchKind(NamedTuple):
    """A kind of search.

    network: (config, image shape, classes, mean, std) -> the network that is searched.
    setup: (config, stand-in for the data) -> a setup.
    report: setup -> text.
    times: (setup, number of devices) -> lines about the time that the search takes.
    loop: the subclass of `RunLoop`, with the `genotype` found and `conclude()`, which writes what the search leaves at its end.
    folder: the subclass of `RunFolder`.
    """

    network: Callable[..., Any]
    setup: Callable[..., Any]
    report: Callable[[Any], str]
    times: Callable[[Any, int], list[str]]
    loop: Callable[..., Any]
    folder: Callable[..., Any]


# The homes of these functions and classes.
_BY_GRADIENTS = (
    "setup:searched_network",
    "setup:search_setup",
    "report:report",
    "report:times",
    "loop:SearchLoop",
    "folder:SearchFolder",
)
_SAMPLED = (
    "sampled.setup:sampled_network",
    "sampled.setup:sampled_setup",
    "sampled.report:report",
    "sampled.report:times",
    "sampled.loop:SampledLoop",
    "sampled.folder:SampledFolder",
)


def kind_of(config: Any) -> SearchKind:
    """The kind of search that a configuration describes."""

    def at(home):
        module, _, name = home.partition(":")
        return getattr(importlib.import_module(f"dsrna_jax.search.{module}"), name)

    return SearchKind(*map(at, _SAMPLED if STRATEGIES[config.strategy] else _BY_GRADIENTS))
