"""What a run leaves behind: the configuration, one row an epoch, checkpoints; of a search also genotypes and pictures."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax import genotype as genotypes
from dsrna_jax import records, zoo
from dsrna_jax.checkpoint import BEST, FOLDER, Checkpoints
from dsrna_jax.config import SearchConfig, differences
from dsrna_jax.errors import InputError
from dsrna_jax.genotype import Genotype


class RunFolder:
    """The files of one run: config.json, metrics.jsonl, checkpoints/.

    A row and a checkpoint carry the number of steps done; `rewind` drops what came after one.
    """

    experiment = "search"

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.metrics = records.Records(self.path / "metrics.jsonl")
        self.checkpoints = Checkpoints(self.path / FOLDER)

    @property
    def is_taken(self) -> bool:
        """Whether a run has left something here that another must not overwrite."""
        return bool(self.checkpoints.steps) or self.metrics.path.exists()

    def check(self, resume: bool) -> None:
        """Raises: InputError if the folder holds a run and is not to resume it, or holds none that could be resumed."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"run_dir {self.path} is a file: expected a folder, or a path where one can be made")
        if resume:
            resolved_configuration(self.path, self.experiment)
        elif self.is_taken:
            raise InputError(f"{self.path} already holds a run: give --resume to go on with it, or another --run_dir")

    def claim(self, resolved: dict[str, Any]) -> None:
        """Makes the folder this run's. Raises: InputError if it holds a run with another configuration."""
        if self.is_taken:
            before = resolved_configuration(self.path, self.experiment)
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


class SearchFolder(RunFolder):
    """The files of a search: also alphas.jsonl, genotype.json, genotypes/ and pictures."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.alphas = records.Records(self.path / "alphas.jsonl")

    def rewind(self, step: int) -> None:
        super().rewind(step)
        self.alphas.truncate(step)

    def write_alphas(self, epoch: int, step: int, alphas: dict[str, Any]) -> None:
        """Appends the alphas after `epoch` epochs; float32 survives the way through JSON bit for bit."""
        self.alphas.write({"epoch": epoch, "step": step, "alphas": alphas})

    def write_genotype(self, genotype: Genotype, epoch: int | None = None) -> None:
        """Writes genotype.json, and that of an epoch."""
        (self.path / "genotypes").mkdir(exist_ok=True)
        genotypes.save(genotype, self.path / "genotype.json")
        if epoch is not None:
            genotypes.save(genotype, self.path / "genotypes" / f"epoch_{epoch:03}.json")

    def draw(self, genotype: Genotype, config: SearchConfig) -> None:
        """Draws cells.png, alphas.png and curves.png from what has been recorded."""
        from dsrna_jax import plots

        history = records.rows(self.alphas.path)
        certified = [config.certificate, config.certificate_method, config.certificate_norm]
        alphas = [{name: np.float32(logits) for name, logits in row["alphas"].items()} for row in history]
        warmup = config.warmup_epochs + 1  # epochs count from 1
        plots.cells(genotype, self.path / "cells.png", title=f"{self.path.name}: the cells found")
        plots.alphas_over_time(
            [row["epoch"] for row in history],
            alphas,
            self.path / "alphas.png",
            warmup=warmup if config.warmup_epochs else 0,
            title=f"{self.path.name}: how the edges chose",
        )
        plots.search_curves(
            records.rows(self.metrics.path),
            self.path / "curves.png",
            metric=" ".join(["R", *{"jacobian": [config.norm], "certified": certified}.get(config.metric, [])]),
            warmup=warmup if config.warmup_epochs else 0,
            title=f"{self.path.name}: the search",
        )


class TrainingFolder(RunFolder):
    """The files of a training: also genotype.json, best/ (the checkpoint that did best on held-out images) and pictures."""

    experiment = "training"

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.best = Checkpoints(self.path / BEST, keep=1)

    def draw(self, architecture: zoo.Architecture, title: str) -> None:
        """Draws curves.png from what has been recorded, and cells.png."""
        from dsrna_jax import plots

        plots.training_curves(records.rows(self.metrics.path), self.path / "curves.png", title=title)
        if isinstance(architecture, Genotype):
            plots.cells(architecture, self.path / "cells.png", title=title)


def resolved_configuration(path: str | os.PathLike, experiment: str = "search") -> dict[str, Any]:
    """What config.json of the folder of a run says.

    Raises: InputError if there is none, if it is damaged or that of another experiment.
    """
    file = Path(path) / "config.json"
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
    return resolved


def configuration(path: str | os.PathLike, kind: type = SearchConfig, experiment: str = "search") -> Any:
    """The configuration, a value of `kind`, that the run in `path` was started with. Raises: InputError if there is none."""
    saved = resolved_configuration(path, experiment)["config"]
    known = {field.name for field in dataclasses.fields(kind)}
    if strange := sorted(set(saved) ^ known):
        raise InputError(f"{path} was written by another version: it and this one differ in {', '.join(strange)}")
    return kind(**saved)


def _identity(resolved: dict[str, Any]) -> dict[str, Any]:
    """What must stay the same when a run goes on: all but the place where the data lie."""
    return {
        **resolved["config"],
        "genotype": resolved.get("genotype"),
        **{f"data {k}": v for k, v in resolved["data"].items()},
        "data_dir": None,
    }


def write_whole(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
