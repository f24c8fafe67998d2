"""The folder of a sampled search: a run folder with its children, the best genotype and pictures."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.files import write_whole
from dsrna_jax.genotypes import Genotype, RobNet
from dsrna_jax.runtime import records
from dsrna_jax.runtime.run_folder import RunFolder
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import training_command
from dsrna_jax.search.sampled.coding import CellCoding, RobNetCoding
from dsrna_jax.search.sampled.front import front


class SampledFolder(RunFolder):
    """The files of a sampled search: those of a run, and children.jsonl, genotype.json and pictures."""

    config_type = SearchConfig

    def __init__(self, path: str | os.PathLike, is_written: bool = True):
        super().__init__(path, is_written)
        self.children = records.Records(self.path / "children.jsonl", is_written)

    @property
    def next_commands(self) -> list[str]:
        return [training_command(self.path)]

    @property
    def records(self) -> list[records.Records]:
        return [self.metrics, self.children]

    def write_genotype(self, genotype: Genotype | RobNet) -> None:
        """Writes the genotype to genotype.json."""
        if self.is_written:
            genotypes.save(genotype, self.path / "genotype.json")

    def write_front(self, objectives: Sequence[str], coding: CellCoding | RobNetCoding) -> None:
        """Writes front.json, front.png, and the architecture of each child of the Pareto front, in the folder front."""
        from dsrna_jax import plots

        whole = [row for row in records.rows(self.children.path) if min(row["code"]) >= 0]
        values = np.array([[row[name] for name in objectives] for row in whole], float)
        members = [whole[index] for index in front(values, objectives)]
        (self.path / "front").mkdir(exist_ok=True)
        for row in members:
            genotypes.save(coding.architecture(row["code"]), self.path / "front" / f"child_{row['child']:05}.json")
        rows = [{name: row[name] for name in ("child", *objectives)} for row in members]
        write_whole(self.path / "front.json", json.dumps(rows, indent=2) + "\n")
        title = f"{self.path.name}: {len(members)} of {len(whole)} children that no other beats"
        plots.pareto_front(whole, rows, objectives, self.path / "front.png", title=title)

    def draw(self, genotype: Genotype | RobNet, config: SearchConfig, best: int) -> None:
        """Draws rewards.png, curves.png and, of all but a RobNet, cells.png.

        Args:
          best: number of the child that has the genotype.
        """
        from dsrna_jax import plots

        shape: dict[str, Any] = {"child": int, "reward": float}
        name, children = self.path.name, records.rows(self.children.path, lambda row: shape)
        if not isinstance(genotype, RobNet):
            plots.cells(genotype, self.path / "cells.png", title=f"{name}: the best cells of {len(children)} children")
        plots.rewards(children, self.path / "rewards.png", reward=config.reward, best=best, title=f"{name}: the children")
        supernet = [row for row in records.rows(self.metrics.path) if "train_loss" in row]
        if supernet:
            plots.search_curves(supernet, self.path / "curves.png", title=f"{name}: the supernet")
