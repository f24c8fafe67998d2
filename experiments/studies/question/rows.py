"""Results of the question as small files: a row of JSON for each network, and the cells; a later run goes on from them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrna_jax import genotypes, strict_json
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import records
from dsrna_jax.runtime.options import interval
from dsrna_jax.strict_json import Nullable

FILE = "rows.jsonl"
_SHARE, _RADIUS, _COUNT = interval("[0, 1]"), interval("[0, 1e4]"), (int, interval("[0, 1e15]"))
_SHAPES = {
    "gamma": {"name": str, "kind": str, "gamma": float, "seed": int, "held_out": _SHARE},
    "network": {
        "name": str, "training": str, "method": str, "cell": int, "seed": int, "weights": _COUNT,
        "clean": Nullable(_SHARE), "attacked": Nullable(_SHARE), "attack": str, "radius": Nullable(_RADIUS), "bound": str,
    },
    "rank": {"name": str, "scores": {str: Nullable(float)}},
}  # fmt: skip


def measured(protocol: str) -> Path:
    """The folder of the results of a protocol that come with the project, which is not there if none do."""
    return Path(__file__).parent / "results" / protocol


def begin(out: Path, protocol: str) -> None:
    """Copies the results that come with the project to a folder that has none of its own."""
    if measured(protocol).exists() and not (out / FILE).exists():
        shutil.copytree(measured(protocol), out, ignore=shutil.ignore_patterns(FILE), dirs_exist_ok=True)
        shutil.copy(measured(protocol) / FILE, out)  # last: it says that the others are there


class Rows:
    """The rows of a folder by name, each a dict whose "row" is "gamma", "network" or "rank"."""

    def __init__(self, out: Path):
        self.out, self._records = out, records.Records(out / FILE)
        self.by_name: dict[str, dict[str, Any]] = {}
        if (out / FILE).exists():
            self.by_name = {row["name"]: row for row in records.rows(out / FILE, _shape)}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The rows of one kind, in the order in which they were measured."""
        return [row for row in self.by_name.values() if row["row"] == kind]

    def add(self, row: str, name: str, **values: Any) -> None:
        """Adds a row, unless there is one of that name."""
        if name not in self.by_name:
            self.by_name[name] = {"row": row, "name": name, **values}
            self._records.write(self.by_name[name])


def _shape(row: Mapping[str, Any]) -> Any:
    strict_json.check(dict(row), {"row": frozenset(_SHAPES)})
    return _SHAPES[row["row"]]


def cells(out: Path) -> set[str]:
    """The names of the cells that are known."""
    return {file.stem for file in (out / "cells").glob("*.json")}


def cell(out: Path, name: str) -> Any:
    """A cell by its name."""
    return genotypes.load(out / "cells" / f"{name}.json")


def keep_cell(out: Path, name: str, architecture: Any) -> None:
    """Writes a cell that was found or drawn."""
    (out / "cells").mkdir(parents=True, exist_ok=True)
    genotypes.save(architecture, out / "cells" / f"{name}.json")


def matches(out: Path) -> dict[str, dict[str, Any]]:
    """Random cells by name: draw, weights, and the searched cell that each is matched to; {} before."""
    file = out / "matches.json"
    return strict_json.read(file, {str: {"draw": int, "weights": int, "to": str, "weights_of_it": int}}) if file.exists() else {}


def keep_matches(out: Path, found: Mapping[str, Any]) -> None:
    """Writes which random cell is matched to which searched one."""
    write_whole(out / "matches.json", json.dumps(found, indent=1) + "\n")
