"""The folder of a training: a run folder with the best checkpoint and pictures."""

import os
import shlex

from dsrna_jax import genotypes
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import BEST, Checkpoints
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.run_folder import RunFolder
from dsrna_jax.training.config import TrainingConfig


class TrainingFolder(RunFolder):
    """The files of a training: those of a run, and genotype.json, best/ (the best checkpoint by held-out images) and pictures."""

    config_type = TrainingConfig

    def __init__(self, path: str | os.PathLike, is_written: bool = True):
        super().__init__(path, is_written)
        self.best = Checkpoints(self.path / BEST, keep=1)

    @property
    def next_commands(self) -> list[str]:
        return [f"{command_line(name)} {shlex.quote(f'--checkpoint={self.path}')}" for name in ("attack", "certify")]

    def write_architecture(self, architecture: genotypes.Architecture) -> None:
        """Writes genotype.json, unless another process of this run does."""
        if self.is_written:
            genotypes.save(architecture, self.path / "genotype.json")

    def draw(self, architecture: genotypes.Architecture, title: str) -> None:
        """Draws curves.png from the recorded metrics, and cells.png of all but a RobNet."""
        from dsrna_jax import plots

        plots.training_curves(records.rows(self.metrics.path), self.path / "curves.png", title=title)
        if not isinstance(architecture, RobNet):
            plots.cells(architecture, self.path / "cells.png", title=title)
