"""Architectures of every kind, in JSON and in files."""

import json
import os
from collections.abc import Mapping
from typing import Any

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import text_of, write_whole
from dsrna_jax.genotypes.block_genotype import BlockGenotype
from dsrna_jax.genotypes.darts_text import from_darts
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype
from dsrna_jax.genotypes.robnet import RobNet

Searched = Genotype | DenseGenotype | BlockGenotype  # those that are derived from alphas
Architecture = Searched | RobNet

_FIELDS = ("normal", "normal_concat", "reduction", "reduction_concat")
_LONGEST_TEXT = 2**20  # bytes
_FORMERLY = {"reduction": "reduce", "reduction_concat": "reduce_concat"}  # as DARTS's code spells them


def to_json(architecture: Architecture) -> dict[str, list]:
    """The architecture as JSON: a dict of lists, with the keys of a genotype, those of a dense one, "blocks" or "robnet"."""
    if isinstance(architecture, RobNet):
        return {"robnet": [list(cell) for cell in architecture.cells]}
    if isinstance(architecture, BlockGenotype):
        return {"blocks": list(architecture.blocks)}
    if isinstance(architecture, DenseGenotype):
        return {f"{cell}_edges": list(getattr(architecture, cell)) for cell in CELL_TYPES}
    return {
        "normal": [list(gene) for gene in architecture.normal],
        "normal_concat": list(architecture.normal_concat),
        "reduction": [list(gene) for gene in architecture.reduction],
        "reduction_concat": list(architecture.reduction_concat),
    }


def from_json(value: Mapping[str, Any] | str) -> Architecture:
    """The architecture in a JSON value or in its text.

    Of a genotype, DARTS's keys "reduce" and "reduce_concat" are read too; all other keys are ignored.

    Raises: InputError if it holds none.
    """
    if isinstance(value, str):
        value = strict_json.parsed(value)
    if not isinstance(value, Mapping):
        raise InputError(f"expected an architecture as a JSON object; got {shown(value)}")
    if "robnet" in value:
        return RobNet(value["robnet"])
    if "blocks" in value:
        return BlockGenotype(value["blocks"])
    if all(f"{cell}_edges" in value for cell in CELL_TYPES):
        return DenseGenotype(*(value[f"{cell}_edges"] for cell in CELL_TYPES))
    fields = {}
    for name in _FIELDS:
        key = name if name in value else _FORMERLY.get(name, name)
        if key not in value:
            raise InputError(f"a genotype needs the key {name!r}; got {', '.join(map(repr, value)) or 'no keys'}")
        fields[name] = value[key]
    return Genotype(**fields)


def save(architecture: Architecture, path: str | os.PathLike) -> None:
    """Writes the architecture as JSON, one field a line. The file is replaced as a whole or not at all."""
    lines = [f"  {json.dumps(name)}: {json.dumps(field)}" for name, field in to_json(architecture).items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def load(path: str | os.PathLike) -> Architecture:
    """The architecture in a JSON file, or in a .txt or .py file the one that DARTS's text describes.

    Raises: InputError, which names the file, if there is none in it.
    """
    is_text = os.fspath(path).endswith((".txt", ".py"))
    try:
        value = text_of(path, _LONGEST_TEXT) if is_text else strict_json.read(path)
    except OSError as error:
        raise InputError(f"cannot read a genotype from {path}: {error.strerror}") from error
    try:
        return from_darts(value) if is_text else from_json(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
