"""The folder of an evaluation: its settings, and records of completed batches."""

import dataclasses
import glob
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.files import replacing, write_whole
from dsrna_jax.runtime.machine import MACHINE, machine, warning
from dsrna_jax.runtime.options import differences, in_todays_names
from dsrna_jax.runtime.paths import OF_RUNS, SETTINGS, first_in
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.records import Records, rows
from dsrna_jax.strict_json import Optional
from dsrna_jax.training.shipped import FOLDER as SHIPPED
from dsrna_jax.training.weights_file import SUFFIX

RUNS = "runs"
BATCHES = "batches.jsonl"


def home(checkpoint: str | os.PathLike, name: str) -> Path:
    """The default folder of results: `name` in the run folder of the checkpoint, else beside the checkpoint.

    Results of the networks that ship with the package go to the folder `RUNS` from here, not beside them.
    """
    folder, prefix = _place(checkpoint)
    return folder / f"{prefix}{name}"


def results_of(checkpoint: str | os.PathLike, file: str) -> tuple[list[Path], list[Path]]:
    """The files of that name in folders of results: those of the checkpoint, and those where results of others may lie as well.

    A run folder has its own, and so has a file, beside it. A checkpoint in a run folder shares its place.
    """
    path = Path(checkpoint)
    folder, prefix = _place(path)
    inside = sorted(path.glob(f"*/{file}"))
    there = [result for result in sorted(folder.glob(f"{glob.escape(prefix)}*/{file}")) if result not in inside]
    return ([*inside, *there], []) if prefix and path.is_file() else (inside, there)


def _place(checkpoint: str | os.PathLike) -> tuple[Path, str]:
    """The folder in which results of a checkpoint have their folders by default, and what their names begin with."""
    path = Path(checkpoint)
    runs = [folder for folder in (path, *path.absolute().parents[:2]) if (folder / "config.json").is_file()]
    if runs:
        return runs[0], ""
    if path.name in ("", ".."):
        path = Path(os.path.abspath(path))
    is_shipped = path.suffix == SUFFIX and path.parent.resolve() == SHIPPED.resolve()
    return Path(RUNS) if is_shipped else path.parent, f"{path.name}_"


def evaluation_folder(out: Path, config: Any, identity: dict[str, Any], count: int, mesh: Mesh, resume: bool) -> "BatchRecords":
    """Opens the output folder, creating it if needed, and returns the records of completed batches.

    Of several processes of a run, process 0 alone does so, and writes the records.

    Args:
      config: a dataclass of options.
      identity: of the checkpoint, with its "step" and "digest".
      count: number of images.
      mesh: of the devices that compute.
      resume: go on with the evaluation in the folder; its settings must be the same.
    Raises: InputError if the folder holds a run, another evaluation, one although `resume` is false, or none although it is true.
    """
    settings = {**dataclasses.asdict(config), "data_dir": None, "images": count}
    settings |= {f"checkpoint {name}": identity[name] for name in ("step", "digest")}
    batches = BatchRecords(out / BATCHES, _fingerprint(settings, type(config)), current().is_first)
    if not batches.is_written:
        return batches
    here = machine(mesh)
    if not (out / SETTINGS).exists():
        if resume:
            raise InputError(f"no evaluation to resume in {out}: start it without --resume")
        if file := first_in(out, OF_RUNS):
            raise InputError(f"{out} holds {file} of a search or training, whose page would be replaced: give another --out")
        if batches.path.exists():
            raise InputError(f"{out} holds batches of an evaluation without its {SETTINGS}: put that back, or give another --out")
    elif not resume:
        raise InputError(f"{out} already holds an evaluation: give --resume to go on with it, or another --out")
    else:
        saved = _saved(out / SETTINGS, type(config))
        there = saved.pop("machine", None)
        if changed := differences(saved, settings):
            raise InputError(
                f"{out} holds an evaluation with other settings ({'; '.join(changed)}): "
                "resume with those it was started with, or give another --out"
            )
        batches.check()
        if there is None:  # version 0.1.0
            here = None
        elif other := warning(there, here):
            print(other, file=sys.stderr)
            here = there
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SETTINGS, json.dumps({**settings, **({"machine": here} if here else {})}, indent=2) + "\n")
    batches.truncate(0)  # drops a line that was not finished
    return batches


class BatchRecords(Records):
    """Records of completed batches; each row has a fingerprint of the settings with which it was computed."""

    def __init__(self, path: Path, fingerprint: str, is_written: bool = True):
        super().__init__(path, is_written)
        self.fingerprint = fingerprint

    def write(self, row: dict[str, Any]) -> None:
        super().write({**row, "settings": self.fingerprint})

    def check(self) -> None:
        """Raises: InputError if a row was computed with other settings; rows of version 0.1.0 have no fingerprint and pass."""
        for number, row in enumerate(completed_rows(self), start=1):
            if row.get("settings", self.fingerprint) != self.fingerprint:
                raise InputError(
                    f"line {number} of {self.path} is of an evaluation with other settings than its {SETTINGS}: put back the "
                    f"file that was changed, or delete {self.path} to begin anew"
                )


def _fingerprint(settings: dict[str, Any], kind: type) -> str:
    """Fingerprint of settings without options at their defaults, which the version that wrote a row may not have had."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {name: value for name, value in settings.items() if name not in defaults or value != defaults[name]}
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def completed_rows(batches: Records, shape_of: Callable[[dict[str, Any]], Any] = lambda row: {}) -> list[dict[str, Any]]:
    """The records of an evaluation folder, in the order in which batches were completed; `shape_of` as in `records.rows`.

    None in a process that does not write them.
    """
    return rows(batches.path, shape_of) if batches.is_written and batches.path.exists() else []


def write_arrays(path: Path, **arrays: Any) -> None:
    """Writes an .npz file, as a whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def _saved(file: Path, kind: type) -> dict[str, Any]:
    """The settings in a file, with defaults for options that the version which wrote it did not have."""
    try:
        saved = strict_json.read(file, {"machine": Optional(MACHINE)})
    except InputError as error:
        raise InputError(f"{error}: give another --out") from None
    return {field.name: field.default for field in dataclasses.fields(kind)} | in_todays_names(kind, saved)
