"""Architectures by name: the published cells, random ones, and those that a run has found.

`zoo.json` holds the published ones, each with the public file that it was read from. Genes are `operation.source`, two a node.
"""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError, close_to
from dsrna_jax.files import expanded
from dsrna_jax.genotypes.architecture import Architecture, load
from dsrna_jax.genotypes.darts_text import OPENING, from_darts
from dsrna_jax.genotypes.genotype import CELL_TYPES, Gene, Genotype
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.genotypes.robnet import RobNet


def names() -> tuple[str, ...]:
    """Names of the published architectures, in the order of `zoo.json`."""
    table = _table()
    return (*table["cells"], *table["robnets"])


def published(name: str) -> Architecture:
    """The architecture that was published under a name of `names()`, or under one of its aliases.

    Raises: InputError, with the nearest names, if there is none.
    """
    table = _table()
    name = table["aliases"].get(name, name)
    if name in table["robnets"]:
        return RobNet(tuple(tuple(code.split()) for code in table["robnets"][name]["codes"]))
    if name not in table["cells"]:
        guess = close_to(name, names(), 0.5)
        raise InputError(
            f"genotype={name!r} is neither a run folder nor a .json file, nor a published name{guess}: expected one of these "
            "or random:SEED or Genotype(...); --genotype=list lists the names"
        )
    entry = table["cells"][name]
    cells = {cell: _genes(entry[cell], table["operations"]) for cell in CELL_TYPES}
    every = tuple(range(2, len(cells["normal"]) // 2 + 2))
    return Genotype(
        cells["normal"],
        entry.get("normal_concat", every),
        cells["reduction"],
        entry.get("reduction_concat", every),
    )


def source(name: str) -> str:
    """Repository, file and line that a published architecture, or an alias, was read from. Raises: KeyError if there is none."""
    table = _table()
    name = table["aliases"].get(name, name)
    return (table["cells"] | table["robnets"])[name]["source"]


def random(seed: int, nodes: int = 4) -> Genotype:
    """A genotype drawn uniformly: for each node two different sources, on each any primitive but `none`.

    The control that every search must beat (Li and Talwalkar 2019, arXiv:1902.07638).
    """
    generator, choices = np.random.default_rng(seed), [name for name in PRIMITIVES if name != "none"]

    def cell():
        return tuple(
            (choices[generator.integers(len(choices))], int(which))
            for node in range(2, nodes + 2)
            for which in sorted(generator.choice(node, 2, replace=False))
        )

    every = tuple(range(2, nodes + 2))
    return Genotype(cell(), every, cell(), every)


def resolve(text: str) -> Architecture:
    """The architecture that `--genotype` names: a run folder, a file, a published name, `random:SEED`, or DARTS's text.

    Raises: InputError, in one line, if it is none of these or holds no architecture.
    """
    kind, _, seed = text.partition(":")
    if kind == "random":
        if not seed.isdecimal():
            raise InputError(f"genotype={text!r}: expected random:SEED with a whole number, such as random:0")
        return random(int(seed))
    if text.lstrip().startswith(OPENING):
        return from_darts(text)
    path = expanded(text)
    if text and (path.is_dir() or path.is_file() or path.suffix in (".json", ".txt", ".py") or len(path.parts) > 1):
        return load(path / "genotype.json" if path.is_dir() else path)
    return published(text)


def listing() -> str:
    """The text of `--genotype=list`: every published name, its aliases and its source, one a line."""
    width = max(map(len, names()))
    aliases = {name: f" (also {alias})" for alias, name in _table()["aliases"].items()}
    lines = [f"{name:{width}}  {source(name)}{aliases.get(name, '')}" for name in names()]
    return "\n".join([*lines, f"{'random:SEED':{width}}  any cell of DARTS's space, drawn uniformly"])


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(resources.files("dsrna_jax.genotypes").joinpath("zoo.json").read_text(encoding="utf-8"))


def _genes(text: str, operations: Mapping[str, str]) -> tuple[Gene, ...]:
    return tuple((operations[code], int(index)) for code, _, index in (gene.partition(".") for gene in text.split()))
