"""The folder of a run: its configuration, one row of metrics an epoch, checkpoints."""

import json
import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import FOLDER, Checkpoints
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.machine import MACHINE
from dsrna_jax.runtime.options import check_fields, differences, in_todays_names, interval
from dsrna_jax.runtime.origin import origin
from dsrna_jax.runtime.paths import OF_EVALUATIONS, first_in
from dsrna_jax.runtime.run_page import NAME, run_page
from dsrna_jax.runtime.timetable import Timetable
from dsrna_jax.strict_json import Optional

_COUNT = (int, interval("[1, 1e9]"))
_SHAPE = {
    "data": {
        "examples": _COUNT,
        "image_shape": [_COUNT],
        "class_names": [str],
        "mean": [interval("[0, 1]")],
        "std": [interval("(0, 1]")],
    },
    "genotype": Optional({}),
    "machine": Optional(MACHINE),
}


class RunFolder:
    """The files of one run: config.json, metrics.jsonl, checkpoints/.

    A row and a checkpoint carry the number of steps done; `rewind` drops what came after one. A subclass names the dataclass
    of its configuration, whose `experiment` tells one kind of run from another.

    is_written: whether this process writes the files; of several processes of a run one does.
    """

    config_type: ClassVar[type]

    def __init__(self, path: str | os.PathLike, is_written: bool = True):
        self.path, self.is_written = Path(path), is_written
        self.metrics = records.Records(self.path / "metrics.jsonl", is_written)
        self.checkpoints = Checkpoints(self.path / FOLDER)

    @property
    def records(self) -> list[records.Records]:
        """The files that get a row an epoch."""
        return [self.metrics]

    def digests(self, step: int) -> dict[str, str]:
        """Fingerprints of the rows until `step` of each record, by the name of its file."""
        return {record.path.name: record.digest(step) for record in self.records}

    @property
    def is_taken(self) -> bool:
        """Whether the folder holds metrics or checkpoints, which another run must not overwrite."""
        return bool(self.checkpoints.steps) or self.metrics.path.exists()

    def check(self, resume: bool) -> None:
        """Raises: InputError if the folder holds a run or evaluation although `resume` is false, or no run to resume."""
        if resume:
            resolved_configuration(self.path, self.config_type)
        elif self.is_taken:
            raise InputError(f"{self.path} already holds a run: give --resume to go on with it, or another --run_dir")
        elif file := first_in(self.path, OF_EVALUATIONS):
            raise InputError(f"{self.path} holds {file} of an evaluation, whose page would be replaced: give another --run_dir")

    def claim(self, resolved: dict[str, Any], machine: dict[str, Any] | None = None) -> None:
        """Makes the folder this run's, on that machine; the machine that a run was started on stays recorded.

        Raises: InputError if it holds a run with another configuration; OSError if checkpoints could not be read back from it.
        """
        if not self.is_written:
            return self.checkpoints.try_out()
        if self.is_taken:
            before = resolved_configuration(self.path, self.config_type)
            machine = before.get("machine")  # not in version 0.1.0
            if changed := differences(identity(before), identity(resolved)):
                raise InputError(
                    f"{self.path} holds a run with another configuration ({'; '.join(changed)}): "
                    "resume with its own configuration, or give another --run_dir"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        self.checkpoints.try_out()
        content = {**resolved, "machine": machine} if machine else resolved
        write_whole(self.path / "config.json", json.dumps(content, indent=2) + "\n")

    @property
    def next_commands(self) -> list[str]:
        """Command lines that use what a run has left."""
        return []

    def page_part(self) -> str:
        """HTML that this kind of run adds to its page."""
        return ""

    def write_page(self, state: str, *, is_running: bool = False) -> None:
        """Writes index.html, the page of the run as it is recorded by now.

        Args:
          state: of the run, in words.
          is_running: then the page loads itself again, and names no commands.
        """
        if not self.is_written:
            return
        rows = records.rows(self.metrics.path) if self.metrics.path.exists() else []
        resolved = resolved_configuration(self.path, self.config_type) | {"origin": origin()}
        commands, own = [] if is_running else self.next_commands, self.page_part()
        write_whole(self.path / NAME, run_page(self.path, resolved, self.config_type(), rows, state, commands, is_running, own))

    def resume_command(self) -> str:
        """The command line that goes on with the run."""
        kind = "train" if self.config_type.experiment == "training" else "search"
        return f"{command_line(kind)} {shlex.quote(f'--run_dir={self.path}')} --resume"

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`; -1 drops all."""
        for record in self.records:
            record.truncate(step)

    def misfit(self, step: int, metadata: dict[str, Any], resolved: dict[str, Any], timetable: Timetable) -> str | None:
        """The mismatch of the records and the checkpoint of `step`, in a few words; None if they fit.

        Args:
          metadata: of the checkpoint.
          resolved: the configuration of this run.
          timetable: of this run.
        Raises: InputError if the checkpoint is that of another run.
        """
        try:
            saved = renewed({name: metadata.get(name) for name in resolved}, self.config_type)
            changed = differences(identity(saved), identity(resolved))
        except (TypeError, KeyError, ValueError, AttributeError):
            changed = ["of something else"]
        if step > timetable.steps:
            changed.append(f"of {step} steps, more than the run has")
        if changed:
            raise InputError(
                f"the checkpoint of step {step} in {self.path} is of another run than its config.json ({'; '.join(changed)}): "
                "put back the file that was changed, or remove the folder of that checkpoint"
            )
        if (digests := metadata.get("records")) is not None:
            wrong = [name for name, digest in self.digests(step).items() if digests.get(name) != digest]
        else:  # of version 0.1.0
            epochs = [row.get("epoch") for row in records.rows(self.metrics.path)] if self.metrics.path.exists() else []
            epoch, done_of_it, length = timetable.place(step)
            done = epoch - (done_of_it < length)
            wrong = [] if epochs[:done] == [*range(1, done + 1)] else [self.metrics.path.name]
        return f"{' and '.join(wrong)} does not hold the rows recorded until then" if wrong else None


def resolved_configuration(path: str | os.PathLike, kind: type) -> dict[str, Any]:
    """The content of config.json in the folder of a run, with today's names; `kind` is the dataclass of its configuration.

    Raises: InputError if it is absent, damaged, or that of another experiment.
    """
    file, experiment = Path(path) / "config.json", kind.experiment
    try:
        resolved = strict_json.read(file, {"experiment": str})
        if resolved["experiment"] != experiment:
            raise InputError(f"{path} holds a {shown(resolved['experiment'])}, not a {experiment}")
        try:
            return renewed(resolved, kind)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no run to resume in {path}: expected its config.json; start one without --resume") from None
    except InputError as error:
        raise InputError(f"{error}: give another --run_dir") from None


def renewed(resolved: dict[str, Any], kind: type) -> dict[str, Any]:
    """A resolved configuration saved by any version, with today's names of fields and values.

    Raises: InputError, which names the field, if it is not as `RunSetup.resolved` makes it or has a value that no option allows.
    """
    strict_json.check(resolved, {"config": {}, "data": {}})
    data = dict(resolved["data"])
    if "deviation" in data:
        data["std"] = data.pop("deviation")
    renewed = {**resolved, "config": in_todays_names(kind, resolved["config"]), "data": data}
    strict_json.check(renewed, _SHAPE)
    check_fields(kind, renewed["config"])
    if len(data["image_shape"]) != 3 or not data["image_shape"][2] == len(data["mean"]) == len(data["std"]):
        raise InputError("expected data.image_shape to be height, width and channels, with a mean and a std for each channel")
    return renewed


def configuration(path: str | os.PathLike, kind: type) -> Any:
    """The configuration, a value of `kind`, that the run in `path` was started with. Raises: InputError if there is none."""
    return configuration_of(resolved_configuration(path, kind), kind, path)


def configuration_of(resolved: dict[str, Any], kind: type, path: str | os.PathLike) -> Any:
    """The configuration, a value of `kind`, in a resolved one from `path`. Raises: InputError if its fields are not those."""
    saved = resolved["config"]
    if strange := sorted(set(saved) ^ {field.name for field in fields(kind)}):
        raise InputError(f"{path} was written by another version: it and this one differ in {', '.join(strange)}")
    try:
        return kind(**saved)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def identity(resolved: dict[str, Any]) -> dict[str, Any]:
    """The entries that must stay the same when a run is resumed: all except places of files and the decoding of the data."""
    return {
        **resolved["config"],
        "genotype": resolved.get("genotype"),
        **{f"data {k}": v for k, v in resolved["data"].items()},
        "data_dir": None,
        "latency_table": None,
        "workers": None,
    }
