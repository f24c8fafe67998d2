"""The measured rows of a comparison: trainings of one kind, merged over their seeds and searches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dsrna_jax.comparison.columns import Column, run_measures
from dsrna_jax.comparison.identity import kind, origin
from dsrna_jax.comparison.names import facet, names
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.errors import InputError


class TableCell(NamedTuple):
    """A measure of a row: the mean over `count` trainings or searches, and their standard deviation if there are several.

    note: the source of the figure, if it is not from the runs.
    """

    value: float
    std: float | None
    count: int
    note: str = ""


class ComparisonRow(NamedTuple):
    """Trainings that differ only in their seed and in that of their search, or a row of the paper, which has no runs.

    count: number of searches if there are several, else of trainings, over which means and standard deviations are taken.
    facet: data and kind of training, of which a table of its own is made.
    """

    name: str
    runs: tuple[FinishedTraining, ...]
    cells: dict[Column, TableCell]
    count: int = 1
    facet: str = ""


def measured_rows(runs: Sequence[FinishedTraining]) -> list[ComparisonRow]:
    """A row for each kind of training, in the order of the first of each.

    Trainings of one architecture are one kind if they differ only in their seed; so are trainings of architectures by searches
    that differ only in their seed. Each of several searches counts once, as the mean of its trainings.

    Raises: InputError if two are the same training.
    """
    groups: dict[str, list[FinishedTraining]] = {}
    for run in runs:
        groups.setdefault(kind(run), []).append(run)
    rows = []
    for name, group in zip(names(list(groups.values())), groups.values(), strict=True):
        by_origin: dict[str, list[FinishedTraining]] = {}
        for run in group:
            by_origin.setdefault(origin(run), []).append(run)
        for trainings in by_origin.values():
            _check_different(trainings)
        measures = [[run_measures(run) for run in trainings] for trainings in by_origin.values()]
        if len(by_origin) == 1:
            replicates = measures[0]
        else:
            replicates = [_means(each) for each in measures]
        columns = dict.fromkeys(column for replicate in replicates for column in replicate)
        cells = {c: _cell([replicate[c] for replicate in replicates if c in replicate]) for c in columns}
        rows.append(ComparisonRow(name, tuple(group), cells, len(replicates), facet(group[0])))
    return rows


def _check_different(trainings: list[FinishedTraining]) -> None:
    for seed in {run.config.seed for run in trainings}:
        same = [str(run.path) for run in trainings if run.config.seed == seed]
        if len(same) > 1:
            raise InputError(f"{' and '.join(same)} are the same training with seed {seed}: give one of them")


def _means(measures: list[dict[Column, float]]) -> dict[Column, float]:
    columns = dict.fromkeys(column for each in measures for column in each)
    return {c: float(np.mean([each[c] for each in measures if c in each])) for c in columns}


def _cell(values: list[float]) -> TableCell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return TableCell(float(np.mean(values)), std, len(values))
