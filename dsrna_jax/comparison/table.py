"""Trained networks side by side: a row a training, its seeds together, a column a measure, the paper's figures beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.runs import Finished
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.certify.config import SMOOTHING
from dsrna_jax.genotypes import zoo
from dsrna_jax.runtime.invocation import command_line

MULTIPLY_ADDS, SMOOTHED = "Mult-adds (M)", "l2 radius of the smoothed network"
_ALWAYS = (CLEAN, PARAMS, MULTIPLY_ADDS, COST)
_TITLES = {"C&W-l2": CW, **{f"PGD-{n}": f"PGD ({n})" for n in (10, 20, 100)}}
_SAME = ("seed", "data_dir", "genotype")  # what trainings may differ in and still be seeds of one
_OF_ADVERSARIES = ("radius", "norm", "attack_steps", "attack_step", "attack_statistics", "radius_warmup_epochs", "replays",
                   "beta", "val_attack_steps", "collapse")  # what they may also differ in if none is adversarial  # fmt: skip


class Column(NamedTuple):
    """A measure. title: as in the paper's tables, where they have it. settings, budget: what it was measured with."""

    title: str
    settings: str = ""
    budget: str = ""


class Cell(NamedTuple):
    """A measure of a row: the mean over `count` seeds, and their standard deviation where there are several.

    note: where the figure is from, if not from the runs.
    """

    value: float
    std: float | None
    count: int
    note: str = ""


class Row(NamedTuple):
    """Trainings that differ only in their seed, or a row of the paper, which has no runs."""

    name: str
    runs: tuple[Finished, ...]
    cells: dict[Column, Cell]


class Comparison(NamedTuple):
    """columns: in the order in which they are shown. notes: what a reader must know, and which commands fill what is missing."""

    columns: list[Column]
    rows: list[Row]
    notes: list[str]

    @property
    def headings(self) -> list[tuple[str, str]]:
        """Title and settings of each column; with the budget where these alone would be those of another column too."""
        heads = [column[:2] for column in self.columns]
        unclear = [heads.count(column[:2]) > 1 for column in self.columns]
        return [(c.title, f"{c.settings}; {c.budget}" if u else c.settings) for c, u in zip(self.columns, unclear, strict=True)]


def comparison(runs: Sequence[Finished]) -> Comparison:
    """Finished trainings side by side, in the order in which they are given.

    Raises: InputError if there are none, or if two are the same training.
    """
    if not runs:
        raise InputError(f"no runs to compare: expected one or more run folders of {command_line('train')}")
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    for group in groups.values():
        for seed in {run.config.seed for run in group}:
            same = [str(run.path) for run in group if run.config.seed == seed]
            if len(same) > 1:
                raise InputError(f"{' and '.join(same)} are the same training with seed {seed}: give one of them")
    measured = {run.path: _measured(run) for run in runs}
    rows = []
    for name, group in zip(_names(list(groups.values())), groups.values(), strict=True):
        found: dict[Column, list[float]] = {}
        for run in group:
            for column, value in measured[run.path].items():
                found.setdefault(column, []).append(value)
        rows.append(Row(name, tuple(group), {column: _cell(values) for column, values in found.items()}))
    known = {column for row in rows for column in row.cells}
    columns = _ordered(known | {Column(title) for title in _ALWAYS if title not in {column.title for column in known}})
    notes = _notes(rows, columns)
    last = {name: index for index, row in enumerate(rows) if (name := _paper_name(row.runs[0]))}
    printed = [(index, row) for name, index in last.items() if (row := _printed(name, rows[index], columns))]
    for index, row in sorted(printed, reverse=True):
        rows.insert(index + 1, row)
    return Comparison(columns, rows, notes + [_PAPER] * bool(printed))


def _identity(run: Finished) -> str:
    return repr((_settings(run), zoo.to_json(run.architecture)))


def _settings(run: Finished) -> dict[str, Any]:
    """The configuration, as far as it makes this training another."""
    unused = _SAME if run.config.is_adversarial else _SAME + _OF_ADVERSARIES
    return {name: value for name, value in asdict(run.config).items() if name not in unused}


def _measured(run: Finished) -> dict[Column, float]:
    """All that is known of a run, in the units of the paper's tables."""
    found = {Column(PARAMS): run.weights / 1e6, Column(MULTIPLY_ADDS): run.multiply_adds / 1e6}
    if run.search:
        found[Column(COST)] = run.search[1] / 86400
    clean = sorted((*run.attacks, *run.certificates), key=lambda result: -result["examples"])
    for result in reversed(clean):  # the one on most images last, so that it counts
        found[Column(CLEAN, _split(result))] = 100 * result["clean"]["accuracy"]
    for result in reversed(run.attacks):
        for row in result["rows"]:
            found[_attack_column(row, result)] = 100 * row["accuracy"]
    for result in reversed(run.certificates):
        if result["radius"]["mean"] is not None:
            found[radius_column(result)] = result["radius"]["mean"]
    return found


def _split(result: dict[str, Any]) -> str:
    split = result["config"].get("split", "test")
    return "" if split == "test" else f"{split} images"


def _attack_column(row: dict[str, Any], result: dict[str, Any]) -> Column:
    title = FGSM if row["name"].startswith("FGSM") else _TITLES.get(row["name"], row["name"])
    # The same attack with another budget is another measure.
    return Column(title, _joined(f"{row['norm']} {pixels(row['radius'], row['norm'])}", _split(result)), row["budget"])


def radius_column(result: dict[str, Any]) -> Column:
    config, method = result["config"], result["method"]
    if method == SMOOTHING:
        budget = f"n0 {config['n0']}, n {config['n']}, alpha {config['alpha']:g}"
        return Column(SMOOTHED, _joined(f"smoothing, sigma {config['sigma']:g}", _split(result)), budget)
    budget = "perturbed pixels stay in [0, 1]" if config["clip"] else "perturbed pixels may leave [0, 1]"
    return Column({"linf": LINF, "l2": L2}[result["norm"]], _joined(method, _split(result)), budget)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _cell(values: list[float]) -> Cell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Cell(float(np.mean(values)), std, len(values))


def _ordered(columns: set[Column]) -> list[Column]:
    """As in the paper; attacks that it has not come behind those that it has."""
    first, last = [CLEAN, "PGD (10)", "PGD (20)", "PGD (100)", FGSM, CW], [LINF, L2, SMOOTHED, PARAMS, MULTIPLY_ADDS, COST]
    titles = [*first, *sorted({column.title for column in columns} - {*first, *last}), *last]
    return sorted(columns, key=lambda column: (titles.index(column.title), *column))


def _names(groups: list[list[Finished]]) -> list[str]:
    """The architecture of each group, and, where several share one, the settings in which these differ."""
    names = [_name(group[0]) for group in groups]
    found = []
    for name, group in zip(names, groups, strict=True):
        others = [_settings(g[0]) for n, g in zip(names, groups, strict=True) if n == name]
        own = _settings(group[0])
        differing = [f for f in own if len({repr(other[f]) for other in others if f in other}) > 1]
        settings = [f"{field.replace('_', ' ')} {_short(own[field])}" for field in differing]
        found.append(", ".join([name, *settings]))
    # The same settings and the same name of two architectures: the folders tell them apart.
    return [n if found.count(n) == 1 else f"{n} ({g[0].path})" for n, g in zip(found, groups, strict=True)]


def _name(run: Finished) -> str:
    """The paper's, of what a search found; else that of the genotype."""
    genotype = Path(run.config.genotype).name.removesuffix(".json")
    found_by = _paper_name(run) if run.search else None
    return f"{found_by} ({genotype})" if found_by else genotype


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _paper_name(run: Finished) -> str | None:
    if run.search:
        return paper_tables.METRICS.get(run.search[0].get("metric"))
    return paper_tables.ROWS.get(run.config.genotype)


def _printed(name: str, row: Row, columns: list[Column]) -> Row | None:
    """The paper's row of that name about the same data set, in the columns that are there."""
    cells = {}
    for title, figure in paper_tables.figures(name, row.runs[0].config.dataset).items():
        for column in columns:
            if column.title == title:
                cells[column] = Cell(figure.value, figure.std, 1, f"Table {figure.table}, row {name}")
    tables = sorted({cell.note.split(",")[0].removeprefix("Table ") for cell in cells.values()})
    return Row(f"paper: {name} (Table{'s' * (len(tables) > 1)} {', '.join(tables)})", (), cells) if cells else None


_PAPER = (
    "Rows of the paper are as it prints them; its settings differ: its clean and its robust figures are of different trainings; "
    "it states radii for CIFAR-10 alone (PGD 8/255; FGSM 2/255, though its figures look like 8/255), no budget of C&W but 60 "
    "iterations, and neither network, images nor method of its certified bounds; its search cost is of one GTX 1080Ti."
)


def _notes(rows: list[Row], columns: list[Column]) -> list[str]:
    notes = ["Clean and robust accuracy of a row are those of the same checkpoints; accuracies are in per cent."]
    if any(len(row.runs) > 1 for row in rows):
        notes.append("Rows of several seeds: mean ± standard deviation; (k of n) where only k of n seeds were measured.")
    if any(column.title in (LINF, L2) for column in columns):
        notes.append("Certified bounds are means over all images, in pixel units; wrongly classified images count with 0.")
    counts = []
    for done, results in (("attacked", "attacks"), ("certified", "certificates")):
        sizes = sorted({result["examples"] for row in rows for run in row.runs for result in getattr(run, results)})
        counts += [f"{', '.join(map(str, sizes))} {done}"] * bool(sizes)
    if counts:
        notes.append(f"Images: {'; '.join(counts)}; the JSON files have 95 % intervals.")
    for kind, results in (("attack", "attacks"), ("certify", "certificates")):
        without = [run for row in rows for run in row.runs if not getattr(run, results)]
        if without:
            commands = "; ".join(f"{command_line(kind)} --checkpoint={run.path}" for run in without)
            notes.append(f"What shows — for want of the command {kind} is filled by: {commands}")
    notes += [f"{', '.join(filter(None, c[:2]))}: {c.budget}." for c in columns if c.budget]
    if any(column.budget and 0 < sum(column in row.cells for row in rows) < len(rows) for column in columns):
        notes.append("— stands also where runs were measured with other settings or budgets: give all of them the same.")
    if any(Column(COST) not in row.cells for row in rows):
        notes.append("Search cost is known where --genotype named the folder of a search, and that is still there.")
    return notes
