"""The rows of a comparison: trainings that differ only in their seed, and rows of the paper beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.columns import Column, run_measures
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.errors import InputError

_SAME = ("seed", "data_dir", "genotype")  # settings in which seeds of one training may differ
_OF_ADVERSARIES = ("radius", "norm", "attack_steps", "attack_step", "attack_statistics", "radius_warmup_epochs", "replays",
                   "beta", "val_attack_steps", "collapse")  # and those if none is adversarial  # fmt: skip


class TableCell(NamedTuple):
    """A measure of a row: the mean over `count` seeds, and their standard deviation where there are several.

    note: where the figure is from, if not from the runs.
    """

    value: float
    std: float | None
    count: int
    note: str = ""


class ComparisonRow(NamedTuple):
    """Trainings that differ only in their seed, or a row of the paper, which has no runs."""

    name: str
    runs: tuple[FinishedTraining, ...]
    cells: dict[Column, TableCell]


def measured_rows(runs: Sequence[FinishedTraining]) -> list[ComparisonRow]:
    """A row for each group of trainings that differ only in their seed, in the order of the first of each.

    Raises: InputError if two are the same training.
    """
    groups: dict[str, list[FinishedTraining]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    for group in groups.values():
        for seed in {run.config.seed for run in group}:
            same = [str(run.path) for run in group if run.config.seed == seed]
            if len(same) > 1:
                raise InputError(f"{' and '.join(same)} are the same training with seed {seed}: give one of them")
    rows = []
    for name, group in zip(_names(list(groups.values())), groups.values(), strict=True):
        values: dict[Column, list[float]] = {}
        for run in group:
            for column, value in run_measures(run).items():
                values.setdefault(column, []).append(value)
        rows.append(ComparisonRow(name, tuple(group), {column: _cell(of_seeds) for column, of_seeds in values.items()}))
    return rows


def with_paper_rows(rows: Sequence[ComparisonRow], columns: list[Column]) -> list[ComparisonRow]:
    """The rows, and behind the last one of each architecture that the paper has, the row that the paper prints."""
    last = {name: index for index, row in enumerate(rows) if (name := _paper_name(row.runs[0]))}
    names = {index: name for name, index in last.items()}
    both = []
    for index, row in enumerate(rows):
        both.append(row)
        if index in names and (printed := _printed(names[index], row, columns)):
            both.append(printed)
    return both


def _identity(run: FinishedTraining) -> str:
    return repr((_settings(run), genotypes.to_json(run.architecture)))


def _settings(run: FinishedTraining) -> dict[str, Any]:
    """The configuration, as far as it makes this training another."""
    unused = _SAME if run.config.is_adversarial else _SAME + _OF_ADVERSARIES
    return {name: value for name, value in asdict(run.config).items() if name not in unused}


def _cell(values: list[float]) -> TableCell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return TableCell(float(np.mean(values)), std, len(values))


def _names(groups: list[list[FinishedTraining]]) -> list[str]:
    """The architecture of each group, followed by the settings in which groups of the same architecture differ."""
    names = [_name(group[0]) for group in groups]
    labels = []
    for name, group in zip(names, groups, strict=True):
        others = [_settings(g[0]) for n, g in zip(names, groups, strict=True) if n == name]
        own = _settings(group[0])
        differing = [f for f in own if len({repr(other[f]) for other in others if f in other}) > 1]
        settings = [f"{field.replace('_', ' ')} {_short(own[field])}" for field in differing]
        labels.append(", ".join([name, *settings]))
    # The same settings and the same name of two architectures: the folders tell them apart.
    return [n if labels.count(n) == 1 else f"{n} ({g[0].path})" for n, g in zip(labels, groups, strict=True)]


def _name(run: FinishedTraining) -> str:
    """The name of the architecture; that of the paper in front, if a search of the paper's found it."""
    genotype = Path(run.config.genotype).name.removesuffix(".json")
    paper_name = _paper_name(run) if run.search else None
    return f"{paper_name} ({genotype})" if paper_name else genotype


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _paper_name(run: FinishedTraining) -> str | None:
    if run.search:
        return paper_tables.METRICS.get(run.search[0].get("metric", ""))
    return paper_tables.ROWS.get(run.config.genotype)


def _printed(name: str, row: ComparisonRow, columns: list[Column]) -> ComparisonRow | None:
    """The paper's row of that name for the same data set, in the columns of the comparison; None if it is empty."""
    cells = {}
    for title, figure in paper_tables.figures(name, row.runs[0].config.dataset).items():
        for column in columns:
            if column.title == title:
                cells[column] = TableCell(figure.value, figure.std, 1, f"Table {figure.table}, row {name}")
    tables = sorted({cell.note.split(",")[0].removeprefix("Table ") for cell in cells.values()})
    return ComparisonRow(f"paper: {name} (Table{'s' * (len(tables) > 1)} {', '.join(tables)})", (), cells) if cells else None
