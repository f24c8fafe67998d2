"""The folder of a search: a run folder with genotypes, alphas and pictures."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.search_spaces import SPACES, groups_of
from dsrna_jax.measures.measure import configured
from dsrna_jax.runtime import records
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.run_folder import RunFolder, configuration
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.mixing import likely_logits
from dsrna_jax.strict_json import Optional

TRAINED_BY_PRESET = ("cifar10", "mnist")
"""Data sets whose names are those of presets of `train`."""


class SearchFolder(RunFolder):
    """The files of a search: those of a run, and alphas.jsonl, genotype.json, genotypes/ and pictures."""

    config_type = SearchConfig

    def __init__(self, path: str | os.PathLike, is_written: bool = True):
        super().__init__(path, is_written)
        self.alphas = records.Records(self.path / "alphas.jsonl", is_written)

    @property
    def next_commands(self) -> list[str]:
        return [training_command(self.path)]

    @property
    def records(self) -> list[records.Records]:
        return [self.metrics, self.alphas]

    def write_alphas(self, epoch: int, step: int, alphas: dict[str, Any], **mixing: Any) -> None:
        """Appends the alphas after `epoch` epochs; float32 is read back from JSON bit for bit.

        mixing: the temperature of the mixtures, and what is kept of the operations, where these are not the default.
        """
        self.alphas.write({"epoch": epoch, "step": step, "alphas": alphas} | mixing)

    def write_genotype(self, genotype: Searched, epoch: int | None = None) -> None:
        """Writes genotype.json and, for an epoch, genotypes/epoch_NNN.json."""
        if not self.is_written:
            return
        (self.path / "genotypes").mkdir(exist_ok=True)
        genotypes.save(genotype, self.path / "genotype.json")
        if epoch is not None:
            genotypes.save(genotype, self.path / "genotypes" / f"epoch_{epoch:03}.json")

    def page_part(self) -> str:
        """The mixtures of the edges with a slider over the epochs; none before the first has ended."""
        from dsrna_jax.search.mixtures_page import mixtures

        history = records.rows(self.alphas.path, _shape_of) if self.alphas.path.exists() else []
        files = [self.path / "genotypes" / f"epoch_{row['epoch']:03}.json" for row in history]
        derived: list[Any] = [genotypes.load(file) if file.exists() else None for file in files]
        if not derived or derived[-1] is None:
            return ""
        names = configuration(self.path, SearchConfig).primitives
        return mixtures([row["epoch"] for row in history], [logits_of(row) for row in history], derived, names)

    def draw(self, genotype: Searched, config: SearchConfig, marks: Mapping[float, str] | None = None) -> None:
        """Draws cells.png, alphas.png and curves.png from the recorded alphas and metrics.

        Args:
          marks: words for the legend, by epochs at which the curves have a line.
        """
        from dsrna_jax import plots

        history = records.rows(self.alphas.path, _shape_of)
        alphas = [logits_of(row) for row in history]
        warmup = config.warmup_epochs + 1  # epochs count from 1
        plots.cells(genotype, self.path / "cells.png", title=f"{self.path.name}: the cells found")
        plots.alphas_over_time(
            [row["epoch"] for row in history],
            alphas,
            self.path / "alphas.png",
            primitives=config.primitives,
            genotype=genotype,
            warmup=warmup if config.warmup_epochs else 0,
            title=f"{self.path.name}: the mixtures of the edges",
        )
        plots.search_curves(
            records.rows(self.metrics.path),
            self.path / "curves.png",
            metric=configured(config).label,
            marks=marks or {},
            warmup=warmup if config.warmup_epochs else 0,
            title=f"{self.path.name}: the search",
        )


def training_command(path: Path) -> str:
    """The command line that trains what a search found, on the data of the search and at its resolution."""
    flags = training_flags(configuration(path, SearchConfig))
    return f"{command_line('train')} {shlex.join([f'--genotype={path}', *flags])}"


def training_flags(config: SearchConfig) -> list[str]:
    """Flags of `train` for the data of a search, by the preset of that data set if there is one, at the search's resolution."""
    chosen = {"preset" if config.dataset in TRAINED_BY_PRESET else "dataset": config.dataset}
    chosen |= {"data_dir": config.data_dir, "image_size": config.image_size}
    chosen["start"] = config.start.removesuffix("_wide")  # wide stems are for supernets
    flags = [f"--{name}={value}" for name, value in chosen.items() if value != getattr(SearchConfig(), name, None)]
    has_depth = config.cell_free or "blocks" in SPACES[config.space].groups(config.nodes, config.cells)
    return [*flags, *([f"--cells={config.cells}"] if has_depth else [])]  # free codes and blocks fit their own depth alone


def logits_of(row: dict[str, Any]) -> dict[str, Any]:
    """The logits whose softmax is the mixture of an epoch, without noise."""
    alphas = {name: np.float32(logits) for name, logits in row["alphas"].items()}
    return likely_logits(alphas, row.get("temperature", 1.0), row.get("kept"))


def _shape_of(row: dict[str, Any]) -> dict[str, Any]:
    """The shape of a row of alphas.jsonl: logits [row, operation] of each group, and [edge] of edges if they have any."""
    names = row["alphas"] if isinstance(row.get("alphas"), dict) else ()
    mixing = {"temperature": Optional(float), "kept": Optional({kind: [[bool]] for kind in groups_of(names)})}
    return {"epoch": int, "alphas": {name: [float] if name.endswith("_edges") else [[float]] for name in names}} | mixing
