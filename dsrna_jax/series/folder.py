"""The folder of a series: that of a search, with a folder for each member, and their records one after the other."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes, strict_json
from dsrna_jax.files import write_whole
from dsrna_jax.measures.measure import configured
from dsrna_jax.runtime import records
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import SearchFolder, logits_of
from dsrna_jax.search.stopping import rise_of
from dsrna_jax.series.members import Member, MemberOutcome


class SeriesFolder(SearchFolder):
    """The files of a series: config.json, members.json, a folder for each member, and in the end what a search leaves.

    members.json lists the members that are done. Rows of metrics.jsonl name their member, and count its epochs.
    """

    @property
    def is_taken(self) -> bool:
        return (self.path / "config.json").exists() or super().is_taken

    @property
    def done(self) -> list[str]:
        """Names of the members that are done."""
        file = self.path / "members.json"
        return strict_json.read(file, [str]) if file.exists() else []

    def finish(self, member: Member) -> None:
        """Records that a member is done."""
        if self.is_written:
            write_whole(self.path / "members.json", json.dumps([*self.done, member.name]) + "\n")

    def outcome(self, member: Member) -> list[Any]:
        """The `MemberOutcome` of a member that is done, as JSON."""
        path = self.path / member.name
        rows = records.rows(path / "metrics.jsonl")
        genotype = strict_json.read(path / "genotype.json", {})
        if not isinstance(member.config, SearchConfig):
            return list(MemberOutcome(genotype, None, max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))))
        measured = [(row["epoch"], row["eigenvalue"]) for row in rows if row.get("eigenvalue") is not None]
        rise = rise_of(member.config, measured)
        alphas = records.rows(path / "alphas.jsonl")[-1]["alphas"]
        return list(MemberOutcome(genotype, alphas, rows[-1], None if rise is None else rise.epoch))

    def gather(self, members: Sequence[Member], genotype: Any, config: SearchConfig) -> None:
        """Writes the records of the members one after the other, the genotype, and the pictures of all."""
        searches = [member for member in members if isinstance(member.config, SearchConfig)]
        for name, of in (("metrics.jsonl", searches), ("alphas.jsonl", searches), ("timing.jsonl", members)):
            rows = [{"member": member.name, **row} for member in of for row in self.own_rows(member, name)]
            for row in rows:  # trainings are part of what the search costs
                if "training_s" in row:
                    row["search_s"] = row.pop("training_s")
            write_whole(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))
        genotypes.save(genotype, self.path / "genotype.json")
        self._draw(searches, genotype, config)
        self.write_page(f"ended after {len(members)} runs, each in a folder of its own")

    def own_rows(self, member: Member, name: str) -> list[dict[str, Any]]:
        """The rows of a file of a member, without those that it has from the search with which it goes on."""
        before = member.start.epoch if member.start else -1
        return [row for row in records.rows(self.path / member.name / name) if row.get("epoch", before + 1) > before]

    def _draw(self, searches, genotype, config):
        from dsrna_jax import plots

        story, title = _story(self, searches), self.path.name
        warmup = config.warmup_epochs + 1 if config.warmup_epochs else 0
        plots.cells(genotype, self.path / "cells.png", title=f"{title}: the cells found")
        plots.alphas_over_time(
            story.alpha_epochs,
            story.alphas,
            self.path / "alphas.png",
            primitives=config.primitives,
            genotype=genotype,
            warmup=warmup,
            title=f"{title}: the mixtures of the edges",
        )
        plots.search_curves(
            story.rows,
            self.path / "curves.png",
            metric=configured(config).label,
            warmup=warmup,
            marks=story.marks,
            title=f"{title}: the searches, one after the other",
        )


class _Story(NamedTuple):
    """The searches of a series one after the other: epochs go on, and marks are where one begins."""

    rows: list[dict[str, Any]]
    alpha_epochs: list[float]
    alphas: list[dict[str, np.ndarray]]
    marks: dict[float, str]


def _story(folder: SeriesFolder, searches: Sequence[Member]) -> _Story:
    story, done = _Story([], [], [], {}), 0
    for member in searches:
        rows, before = folder.own_rows(member, "metrics.jsonl"), member.start.epoch if member.start else 0
        if done:
            story.marks[done + 0.5] = f"{member.name.replace('_', ' ')} begins"
            story.rows.append({"epoch": done + 0.5})  # a gap in all lines
        story.rows.extend(row | {"epoch": done + row["epoch"] - before} for row in rows)
        for row in folder.own_rows(member, "alphas.jsonl"):
            story.alpha_epochs.append(done + row["epoch"] - before)
            story.alphas.append(logits_of(row))
        done += len(rows)
    return story
