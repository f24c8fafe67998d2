"""Protocols as data: the tables of the paper, the methods in their rows, and the scales at which they are run.

Each is a TOML file beside this module, read once and checked by tests: whoever wants another size writes another scale.
"""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from dsrna_jax.errors import InputError, shown

TABLES = (1, 2, 3, 4, 5, 6)
ROLES = ("standard", "adversarial", "small")
"""Kinds of trainings: `small` is that of the networks that are certified."""

Flags = Mapping[str, Any]


class TableColumn(NamedTuple):
    """A column of a table.

    title: that of the paper's column, if it has one of that title; else it is ours alone.
    training: one of `ROLES`, or "protocol" for the kind of training of the paper's figure.
    measure: the measure of a training, as `results.value` reads it.
    says: a few words below the title.
    """

    title: str
    training: str
    measure: str
    says: str = ""


class Table(NamedTuple):
    """A table of the paper: its data sets, its rows by the names of methods, and its protocol in words."""

    number: int
    title: str
    data: tuple[str, ...]
    rows: tuple[str, ...]
    protocol: str
    columns: tuple[TableColumn, ...]


class TableMethod(NamedTuple):
    """A way to get cells: a search by family of presets, or a published cell.

    row: the paper's name of it.
    searches: by family, flags of a search, or {"genotype": NAME}.
    genotype: the published cell, if it is the same for all families.
    absent: the reason why a family has neither.
    """

    name: str
    row: str
    searches: Mapping[str, Flags]
    genotype: str = ""
    absent: str = ""

    def cell(self, family: str) -> Flags | None:
        """Flags of the search, or {"genotype": NAME}; None if there is neither."""
        return {"genotype": self.genotype} if self.genotype else self.searches.get(family)


class Section(NamedTuple):
    """A data set at a scale.

    says: name and size, in words.
    images: numbers of training and test images.
    family: of the presets of its searches.
    flags: of the commands, by "search", "attack", "certify" and `ROLES`.
    cost: by the same names, seconds on two cores: (to start and to compile, for each image of an epoch or of an evaluation).
    cost_of: the same of the searches of some methods.
    searched_on: another section, whose searches give the cells; "" for this one.
    same: roles whose training is that of another role.
    """

    name: str
    says: str
    images: tuple[int, int]
    family: str
    flags: Mapping[str, Flags]
    cost: Mapping[str, tuple[float, float]]
    cost_of: Mapping[str, tuple[float, float]]
    searched_on: str = ""
    same: Mapping[str, str] = {}

    def role(self, name: str) -> str:
        """The role whose training stands for that of `name`."""
        return self.same.get(name, name)


class Scale(NamedTuple):
    """A size at which tables are run.

    seeds: number of searches of each method.
    gpu: whether it is out of reach of a CPU.
    at_once: runs at a time on a CPU: small ones, which mostly compile, leave one core idle.
    methods: the rows that run unless others are asked for.
    tables: by number, the section that stands for each of the paper's data sets.
    left_out: by number, the reason why a table, or a data set of it, is not run.
    """

    name: str
    says: str
    seeds: int
    gpu: bool
    methods: tuple[str, ...]
    tables: Mapping[int, Mapping[str, str]]
    left_out: Mapping[int, str]
    data: Mapping[str, Section]
    at_once: int = 1


@functools.cache
def table(number: int) -> Table:
    """A table by its number in the paper."""
    content = _read("tables", f"{number}.toml")
    columns = tuple(TableColumn(**column) for column in content["columns"])
    lists = {name: tuple(content[name]) for name in ("data", "rows")}
    return Table(number=number, **{**content, **lists, "columns": columns})


@functools.cache
def methods() -> Mapping[str, TableMethod]:
    """All methods by name."""
    own = ("row", "genotype", "absent")
    return {
        name: TableMethod(
            name, searches={k: v for k, v in entry.items() if k not in own}, **{k: v for k, v in entry.items() if k in own}
        )
        for name, entry in _read("methods.toml").items()
    }


def scale_names() -> tuple[str, ...]:
    """The names of the scales, from the smallest to the largest."""
    return ("smoke", "digits", "mnist_small", "cifar10_small", "cifar10", "imagenet", "paper")


@functools.cache
def scale(name: str) -> Scale:
    """A scale by its name."""
    content = _read("scales", f"{name}.toml")
    data = {key: section(key, entry) for key, entry in content.pop("data").items()}
    tables = {int(number): sections for number, sections in content.pop("tables").items()}
    left_out = {int(number): reason for number, reason in content.pop("left_out", {}).items()}
    content["methods"] = tuple(content["methods"])
    return Scale(name=name, tables=tables, left_out=left_out, data=data, **content)


def chosen(names: Sequence[str]) -> list[TableMethod]:
    """The methods of those names. Raises: InputError for a name that is no method."""
    known = methods()
    if wrong := [name for name in names if name not in known]:
        raise InputError(f"methods={shown(wrong[0])} is no method: expected some of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def section(name: str, entry: Mapping[str, Any]) -> Section:
    """A data set at a scale, from its part of the scale's file."""
    kinds = ("search", "attack", "certify", *ROLES)
    flags = {kind: entry[kind] for kind in kinds if isinstance(entry.get(kind), dict)}
    cost = {kind: tuple(pair) for kind, pair in entry["cost"].items() if kind != "of"}
    cost_of = {method: tuple(pair) for method, pair in entry["cost"].get("of", {}).items()}
    same = {kind: entry[kind] for kind in ROLES if isinstance(entry.get(kind), str)}
    images = tuple(entry["images"])
    return Section(name, entry["says"], images, entry["family"], flags, cost, cost_of, entry.get("searched_on", ""), same)


def _read(*path: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("dsrna_jax.reproduction").joinpath(*path).read_text(encoding="utf-8"))
