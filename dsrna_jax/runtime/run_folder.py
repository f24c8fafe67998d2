"""The folder of a run: its configuration, one row of metrics an epoch, checkpoints."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import FOLDER, Checkpoints
from dsrna_jax.runtime.options import differences, in_todays_names


class RunFolder:
    """The files of one run: config.json, metrics.jsonl, checkpoints/.

    A row and a checkpoint carry the number of steps done; `rewind` drops what came after one. A subclass names the dataclass
    of its configuration, whose `experiment` tells one kind of run from another.
    """

    config_type: ClassVar[type]

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.metrics = records.Records(self.path / "metrics.jsonl")
        self.checkpoints = Checkpoints(self.path / FOLDER)

    @property
    def is_taken(self) -> bool:
        """Whether the folder holds metrics or checkpoints, which another run must not overwrite."""
        return bool(self.checkpoints.steps) or self.metrics.path.exists()

    def check(self, resume: bool) -> None:
        """Raises: InputError if the folder holds a run and is not to resume it, or holds none that could be resumed."""
        if resume:
            resolved_configuration(self.path, self.config_type)
        elif self.is_taken:
            raise InputError(f"{self.path} already holds a run: give --resume to go on with it, or another --run_dir")

    def claim(self, resolved: dict[str, Any]) -> None:
        """Makes the folder this run's. Raises: InputError if it holds a run with another configuration."""
        if self.is_taken:
            before = resolved_configuration(self.path, self.config_type)
            if changed := differences(_identity(before), _identity(resolved)):
                raise InputError(
                    f"{self.path} holds a run with another configuration ({'; '.join(changed)}): "
                    "resume with what it was started with, or give another --run_dir"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "config.json", json.dumps(resolved, indent=2) + "\n")

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`; those of a run that starts afresh are all after -1."""
        self.metrics.truncate(step)


def resolved_configuration(path: str | os.PathLike, kind: type) -> dict[str, Any]:
    """The content of config.json in the folder of a run, with the names of today; `kind` is the dataclass of its configuration.

    Raises: InputError if there is none, if it is damaged or that of another experiment.
    """
    file, experiment = Path(path) / "config.json", kind.experiment
    try:
        resolved = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no run to resume in {path}: expected its config.json; start one without --resume") from None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}): give another --run_dir") from None
    if not isinstance(resolved, dict) or not {"config", "data"} <= set(resolved):
        raise InputError(f"{file} is not that of a {experiment}: give another --run_dir")
    if resolved.get("experiment") != experiment:
        raise InputError(f"{path} holds a {resolved.get('experiment')}, not a {experiment}: give another --run_dir")
    return renewed(resolved, kind)


def renewed(resolved: dict[str, Any], kind: type) -> dict[str, Any]:
    """A resolved configuration that any version has saved, with the names that fields and values have now."""
    data = dict(resolved["data"])
    if "deviation" in data:
        data["std"] = data.pop("deviation")
    return {**resolved, "config": in_todays_names(kind, resolved["config"]), "data": data}


def configuration(path: str | os.PathLike, kind: type) -> Any:
    """The configuration, a value of `kind`, that the run in `path` was started with. Raises: InputError if there is none."""
    return configuration_of(resolved_configuration(path, kind), kind, path)


def configuration_of(resolved: dict[str, Any], kind: type, path: str | os.PathLike) -> Any:
    """The configuration, a value of `kind`, in a resolved one from `path`. Raises: InputError if its fields are not those."""
    saved = resolved["config"]
    if strange := sorted(set(saved) ^ {field.name for field in fields(kind)}):
        raise InputError(f"{path} was written by another version: it and this one differ in {', '.join(strange)}")
    return kind(**saved)


def _identity(resolved: dict[str, Any]) -> dict[str, Any]:
    """The entries that must stay the same when a run is resumed: all but the folder of the data."""
    return {
        **resolved["config"],
        "genotype": resolved.get("genotype"),
        **{f"data {k}": v for k, v in resolved["data"].items()},
        "data_dir": None,
    }
