"""The figures of tables: each the mean of a measure over the trainings of a cell, with the paper's figure beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.columns import COSTS, run_measures
from dsrna_jax.comparison.paper_tables import PaperFigure
from dsrna_jax.comparison.runs import FinishedTraining, read
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.certify.config import upper_bound
from dsrna_jax.reproduction.graph import CellRuns, RunGraph, evaluation_of

TARGETS = ("random", "least_likely", "runner_up")
"""The classes over which CNN-Cert takes the mean of its radii."""


class MeasuredCell(NamedTuple):
    """A measure of one training, with its budget or images in words, and the title of its column if that depends on the run."""

    value: float
    how: str
    title: str = ""


class Figure(NamedTuple):
    """A figure: mean over `count` trainings, each of another search, and their standard deviation if there are several.

    runs: folders of the runs that measured it: attacks, certificates, trainings, or searches for their cost.
    how: budget or images, in words.
    title: of the column, if that depends on the runs: the parts of AutoAttack that ran, the unit of a cost.
    """

    value: float
    std: float | None
    count: int
    runs: tuple[Path, ...]
    how: str
    title: str = ""


def trainings(graph: RunGraph, out: Path, finished: set[str]) -> dict[str, FinishedTraining]:
    """The finished trainings of a graph with their evaluations, by name. Raises: InputError if a result is damaged."""
    names = dict.fromkeys(name for cell in graph.cells for name in cell.trainings)
    return {name: read(out / name) for name in names if name in finished}


def figure(cell: CellRuns, read_runs: Mapping[str, FinishedTraining]) -> Figure | None:
    """The figure of a cell, of the trainings that are finished and measured; None without any."""
    measured = [
        (run, one) for name in cell.trainings if (run := read_runs.get(name)) and (one := value(run, cell.column.measure))
    ]
    if not measured:
        return None
    values = [one.value for _, one in measured]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    ways = dict.fromkeys(one.how for _, one in measured)
    paths = tuple(_folder(run, cell.column.measure) for run, _ in measured)
    return Figure(float(np.mean(values)), std, len(values), paths, "; ".join(ways), measured[0][1].title)


def _folder(run: FinishedTraining, measure: str) -> Path:
    """The folder of the run that measured it."""
    return run.search.path if measure == "cost" and run.search else run.path / evaluation_of(measure)


def printed(cell: CellRuns) -> PaperFigure | None:
    """The paper's figure that a cell stands beside."""
    stated = paper_tables.figures(cell.method.row, cell.data).get(cell.column.title)
    return stated if stated and stated.table == cell.table else None


def value(run: FinishedTraining, measure: str) -> MeasuredCell | None:
    """A measure of a training in the units of the paper's tables; None if it was not measured.

    Args:
      measure: "clean", "params" (in millions), "cost" (of the search, in days), "attack NAME" for a row of attack.json,
        "unattacked" for the accuracy without attack on the images that were attacked,
        "fgsm SHARE" for FGSM within that share of the radius, "series" for AutoAttack or what ran of it, "radius NORM minimum",
        "radius NORM targets", the mean over `TARGETS`, or "attacked NORM", the attack's upper bound of the radius.
    """
    kind, _, rest = measure.partition(" ")
    if kind == "clean":
        test = run.result["test"] if run.result else None
        return MeasuredCell(100 * test["accuracy"], f"all {test['images']:,} {test['split']} images") if test else None
    if kind == "params":
        return MeasuredCell(run.weights / 1e6, "")
    if kind == "cost":
        return next((MeasuredCell(days, c.how, c.title) for c, days in run_measures(run).items() if c.title in COSTS), None)
    if kind in ("radius", "attacked"):
        return _certified(run, kind, *rest.split())
    if kind == "unattacked":
        first = run.attacks[0] if run.attacks else None
        return MeasuredCell(100 * first["clean"]["accuracy"], _images(first)) if first else None
    for result in run.attacks:
        for row in result["rows"]:
            if _is_meant(kind, rest, row, result["config"].get("radius", 0.0)):
                images = _images(result)
                ball = f"{row['norm']} {pixels(row['radius'], row['norm'])}"
                return MeasuredCell(100 * row["accuracy"], f"{row['name']}, {ball}: {row['budget']}; {images}",
                                row["name"] if kind == "series" else "")  # fmt: skip
    return None


def _images(result: Mapping) -> str:
    return f"{result['examples']:,} {result['config']['split']} images"


def _is_meant(kind: str, rest: str, row: Mapping, radius: float) -> bool:
    if kind == "attack":
        return row["name"] == rest
    if kind == "fgsm":
        return row["name"].startswith("FGSM") and abs(row["radius"] - float(rest) * radius) < 1e-6
    return "after" in row


def _certified(run: FinishedTraining, kind: str, norm: str, which: str = "") -> MeasuredCell | None:
    for result in run.certificates:
        if result["norm"] != norm:
            continue
        rows = [result["attack_radius"]] if kind == "attacked" else [result["radius"]] if which == "minimum" else [
            result["per_target"][target] for target in TARGETS
        ]  # fmt: skip
        if any(row is None or row["mean"] is None for row in rows):
            return None
        config = result["config"]
        how = upper_bound(result) if kind == "attacked" else f"{result['method']}, {config['arithmetic']} arithmetic"
        return MeasuredCell(
            float(np.mean([row["mean"] for row in rows])), f"{how}; {result['examples']} {config['split']} images"
        )
    return None
