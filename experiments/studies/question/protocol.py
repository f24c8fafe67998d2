"""Protocols of the question as data: sizes, seeds, flags of all runs and their costs, one TOML file each."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dsrna_jax.reproduction import protocols
from dsrna_jax.reproduction.protocols import Section, TableMethod

PAPER = {"dsrna_cb": "DSRNA-CB", "dsrna_jacobian": "DSRNA-Jacobian"}
"""The searches of the paper, each with its name on the page."""
OPTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "relative": ("R relative to the clean margin", {"metric_unit": "margin"}),
    "normalised": ("R of normalised logits", {"metric_unit": "std"}),
    "ramped": ("γ growing", {"gamma_schedule": "linear"}),
    "derived": ("R at the derived cells", {"metric_network": "derived"}),
}
"""Other ways of R to enter the objective, by the end of a method's name: words for the page, and flags of the search."""
VARIANTS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    f"{name}_{end}": (f"{title}, {words}", name, flags)
    for name, title in PAPER.items()
    for end, (words, flags) in OPTIONS.items()
}
"""The searches of the paper with one of `OPTIONS`, which a protocol may list: entries of `METHODS`."""
KINDS = PAPER | {name: title for name, (title, _, _) in VARIANTS.items()}
"""The searches with R, each with its name on the page."""
GAMMA_0, RANDOM = "gamma_0", "random"
"""The controls: the same search without R, and random cells of as many weights."""
RANK = "rank"
"""Random cells of any size, of the rank study."""

# By name: name on the page, the method of the reproduction that it is, and flags of its search that are others.
METHODS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    **{name: (title, name, {}) for name, title in PAPER.items()},
    **VARIANTS,
    GAMMA_0: ("γ = 0 of the same search", "dsrna_jacobian", {"metric": "none", "gamma": 0.0}),
    "pcdarts": ("PC-DARTS", "pcdarts", {"order": "first"}),
    "sdarts_adv": ("SDARTS-ADV", "sdarts_adv", {}),
    "pcdarts_adv": ("PC-DARTS-ADV", "pcdarts_adv", {}),
    "robnet": ("RobNet", "robnet_large", {}),
    "darts": ("DARTS", "darts_first", {}),
    RANDOM: ("random cells of as many weights", RANDOM, {}),
    RANK: ("random cells", RANDOM, {}),
}


class Protocol(NamedTuple):
    """The size of the experiment.

    says: data and size, in words.
    section: the data, and the flags and costs of all runs.
    shape: height, width and channels of an image.
    methods: names of `METHODS`.
    trainings: kinds of training of every cell, of "standard" and "adversarial".
    search_seeds: searches of each method.
    training_seeds: trainings of each cell.
    gammas: that are tried, besides 0, for each search with R.
    gamma_seeds: searches at each gamma.
    random_cells: how many are trained; `draws` are drawn, of which those with the nearest number of weights are taken.
    nodes: of a cell.
    rank_cells: random cells of any size, of the rank study; 0 for none.
    rank_images: on which R is measured.
    rank_steps: of the weights of the supernet in which R is measured.
    at_once: runs at a time on a CPU.
    """

    name: str
    says: str
    section: Section
    shape: tuple[int, int, int]
    methods: tuple[str, ...]
    trainings: tuple[str, ...]
    search_seeds: int
    training_seeds: int
    gammas: tuple[float, ...]
    gamma_seeds: int
    random_cells: int
    draws: int
    nodes: int
    rank_cells: int
    rank_images: int
    rank_steps: int
    at_once: int = 1

    @property
    def kinds(self) -> list[str]:
        """The searches with R among the methods."""
        return [name for name in KINDS if name in self.methods]


def names() -> tuple[str, ...]:
    """The names of the protocols, from the smallest to the largest."""
    return ("smoke", "digits", "mnist", "cifar10_small", "cifar10")


def protocol(name: str) -> Protocol:
    """A protocol by its name."""
    content = tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
    section = protocols.section(content["data"].pop("name"), content.pop("data"))
    lists = {key: tuple(content.pop(key)) for key in ("shape", "methods", "trainings", "gammas")}
    return Protocol(name=name, section=section, **lists, **content)


def method(name: str) -> TableMethod:
    """A method as the reproduction knows it, under its name here."""
    return protocols.methods()[METHODS[name][1]]._replace(name=name)


def search_flags(name: str, family: str) -> dict[str, Any]:
    """The flags of the search of a method."""
    return {**(method(name).cell(family) or {}), **METHODS[name][2]}
