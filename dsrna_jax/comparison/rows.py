"""The rows of a comparison: trainings of one kind merged over their seeds and searches, and rows of the paper beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.columns import COSTS, Column, run_measures
from dsrna_jax.comparison.paper_tables import CLEAN, COST, PARAMS
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.budgets import pixels

PAPER_COST = Column(COST, how="as the paper prints it")
_SAME = ("seed", "data_dir", "genotype")  # settings in which trainings of one row may differ
_OF_ADVERSARIES = ("radius", "norm", "attack_steps", "attack_step", "attack_statistics", "radius_warmup_epochs", "replays",
                   "beta", "val_attack_steps", "collapse")  # and those if none is adversarial  # fmt: skip
_NAMED = ("dataset", "image_size", "adversarial", "norm", "radius")  # settings that stand in every name
_NAMED_OF_SEARCH = ("space", "metric", "order", "dataset", "image_size")


class TableCell(NamedTuple):
    """A measure of a row: the mean over `count` trainings or searches, and their standard deviation where there are several.

    note: where the figure is from, if not from the runs.
    """

    value: float
    std: float | None
    count: int
    note: str = ""


class ComparisonRow(NamedTuple):
    """Trainings that differ only in their seed and in that of their search, or a row of the paper, which has no runs.

    count: of the searches where there are several, else of the trainings: what means and deviations are taken over.
    """

    name: str
    runs: tuple[FinishedTraining, ...]
    cells: dict[Column, TableCell]
    count: int = 1


def measured_rows(runs: Sequence[FinishedTraining]) -> list[ComparisonRow]:
    """A row for each kind of training, in the order of the first of each.

    Trainings of one architecture are one kind if they differ only in their seed; so are trainings of architectures that searches
    found which differ only in theirs. Of several searches, each counts once, as the mean of its trainings.
    Raises: InputError if two are the same training.
    """
    groups: dict[str, list[FinishedTraining]] = {}
    for run in runs:
        groups.setdefault(_kind(run), []).append(run)
    rows = []
    for name, group in zip(_names(list(groups.values())), groups.values(), strict=True):
        found: dict[str, list[FinishedTraining]] = {}  # the trainings of each architecture
        for run in group:
            found.setdefault(_origin(run), []).append(run)
        for trainings in found.values():
            _check_different(trainings)
        measures = [[run_measures(run) for run in trainings] for trainings in found.values()]
        if len(found) == 1:
            replicates = measures[0]
        else:
            replicates = [_means(each) for each in measures]
        columns = dict.fromkeys(column for replicate in replicates for column in replicate)
        cells = {c: _cell([replicate[c] for replicate in replicates if c in replicate]) for c in columns}
        rows.append(ComparisonRow(name, tuple(group), cells, len(replicates)))
    return rows


def with_paper_rows(rows: Sequence[ComparisonRow], columns: Iterable[Column]) -> list[ComparisonRow]:
    """The rows, and behind the last one of each method, data set and kind of training the row that the paper prints of it.

    A figure of the paper stands in a column of the same norm, stated radius and split alone, and only beside trainings on the
    same data that are adversarial if its own is. Figures of other protocols are left out, and rows without any.
    """
    last = {key: index for index, row in enumerate(rows) if (key := _paper_key(row.runs[0]))}
    keys = {index: key for key, index in last.items()}
    both = []
    for index, row in enumerate(rows):
        both.append(row)
        if index in keys and (printed := _printed(keys[index][0], row.runs[0], columns)):
            both.append(printed)
    return both


def _kind(run: FinishedTraining) -> str:
    origin = _search_settings(run) if run.search else genotypes.to_json(run.architecture)
    return repr((_settings(run), origin))


def _origin(run: FinishedTraining) -> str:
    """The search of a run and the architecture that it found: the same for retrainings of one cell."""
    return repr((run.search and run.search.config.get("seed"), genotypes.to_json(run.architecture)))


def _check_different(trainings: list[FinishedTraining]) -> None:
    for seed in {run.config.seed for run in trainings}:
        same = [str(run.path) for run in trainings if run.config.seed == seed]
        if len(same) > 1:
            raise InputError(f"{' and '.join(same)} are the same training with seed {seed}: give one of them")


def _settings(run: FinishedTraining) -> dict[str, Any]:
    """The configuration, as far as it makes this training another."""
    unused = _SAME if run.config.is_adversarial else _SAME + _OF_ADVERSARIES
    return {name: value for name, value in asdict(run.config).items() if name not in unused}


def _search_settings(run: FinishedTraining) -> dict[str, Any]:
    """The same of the search that found the architecture."""
    return {name: v for name, v in sorted(run.search.config.items()) if name not in _SAME} if run.search else {}


def _means(measures: list[dict[Column, float]]) -> dict[Column, float]:
    columns = dict.fromkeys(column for each in measures for column in each)
    return {c: float(np.mean([each[c] for each in measures if c in each])) for c in columns}


def _cell(values: list[float]) -> TableCell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return TableCell(float(np.mean(values)), std, len(values))


def _names(groups: list[list[FinishedTraining]]) -> list[str]:
    """Architecture or method, data and kind of training of each group, and the settings in which groups of the same differ."""
    labels = []
    for group in groups:
        others = [other[0] for other in groups if _called(other[0]) == _called(group[0])]
        own, of_search = _settings(group[0]), _search_settings(group[0])
        differing = [f"{field.replace('_', ' ')} {_short(own[field])}" for field in own if field not in _NAMED
                     and _differs(field, map(_settings, others))]  # fmt: skip
        differing += [f"search {field.replace('_', ' ')} {_short(of_search[field])}" for field in of_search
                      if field not in _NAMED_OF_SEARCH and _differs(field, map(_search_settings, others))]  # fmt: skip
        name, data, training = _called(group[0])
        labels.append(f"{name}{_found_in(group)}; {', '.join([data, training, *differing])}")
    # The same settings and the same name of two architectures: the folders tell them apart.
    return [n if labels.count(n) == 1 else f"{n} ({g[0].path})" for n, g in zip(labels, groups, strict=True)]


def _differs(field: str, settings: Iterable[dict[str, Any]]) -> bool:
    return len({repr(each[field]) for each in settings if field in each}) > 1


def _called(run: FinishedTraining) -> tuple[str, str, str]:
    """Method (of a searched cell, by space, metric, order and data) or architecture, data, and kind of training."""
    name = _file_name(run)
    if run.search:
        parts = (run.search.config.get(field, "?") for field in ("space", "metric", "order"))
        name = f"{', '.join(parts)}, searched on {_data(run.search.config)}"
    return name, _data(asdict(run.config)), _training(run)


def _found_in(group: list[FinishedTraining]) -> str:
    """The folder of the search of a group, or the number of its searches; "" for other architectures."""
    if not group[0].search:
        return ""
    searches = len({_origin(run) for run in group})
    return f" ({f'{searches} searches' if searches > 1 else _file_name(group[0])})"


def _file_name(run: FinishedTraining) -> str:
    return Path(run.config.genotype).name.removesuffix(".json")


def _data(config: dict[str, Any]) -> str:
    size = config.get("image_size")
    return f"{config.get('dataset', '?')}{f' at {size}x{size}' if size else ''}"


def _training(run: FinishedTraining) -> str:
    config = run.config
    if not config.is_adversarial:
        return "standard"
    return f"adversarial ({config.adversarial}, {config.norm} {pixels(config.radius, config.norm)})"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _paper_key(run: FinishedTraining) -> tuple[str, str, int, bool] | None:
    """The paper's name of a run's method, and what its figures must be figures of; None if the paper has no such method."""
    config = run.config
    if run.search:
        name = paper_tables.method(run.search.config, config.dataset)
    else:
        name = paper_tables.ROWS.get(config.genotype)
    return (name, config.dataset, config.image_size, config.is_adversarial) if name else None


def _printed(name: str, run: FinishedTraining, columns: Iterable[Column]) -> ComparisonRow | None:
    """The paper's row of that name, in the columns and beside the run that its figures match; None if none does."""
    cells, config = {}, run.config
    for title, figure in paper_tables.figures(name, config.dataset).items():
        wanted = paper_tables.protocol(title, name, config.dataset)
        if config.image_size not in wanted.sides or config.is_adversarial != wanted.is_adversarial:
            continue
        for column in columns:
            if column.title == title and _matches(column, wanted):
                cells[column] = TableCell(figure.value, figure.std, 1, f"Table {figure.table}, row {name}")
    tables = sorted({cell.note.split(",")[0].removeprefix("Table ") for cell in cells.values()})
    kind = "adversarial" if config.is_adversarial else "standard"
    name = f"paper: {name}; {config.dataset}, {kind} (Table{'s' * (len(tables) > 1)} {', '.join(tables)})"
    return ComparisonRow(name, (), cells) if cells else None


def _matches(column: Column, wanted: paper_tables.Protocol) -> bool:
    """Whether a measured figure of that column is one of the same thing as a figure of the paper with that title."""
    if column.title in COSTS:
        return column == PAPER_COST
    if column.title == PARAMS:
        return True
    if column.images is None or column.images.split != wanted.split:
        return False
    if not wanted.norm:
        return column.title == CLEAN or not column.norm
    return column.norm == wanted.norm and wanted.radius is not None and abs(column.radius - wanted.radius) < 1e-6
