"""Pictures of a comparison, each with a caption and a text that says what is seen."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.columns import COSTS, MULTIPLY_ADDS, NOT_ACCURACIES, RADIUS_TITLES, WORST, Column
from dsrna_jax.comparison.intervals import interval, radii
from dsrna_jax.comparison.paper_tables import CLEAN
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import number
from dsrna_jax.evaluation.certify.report import percentile_radius


class ComparisonPicture(NamedTuple):
    """A figure with its caption, and the text for those who do not see it."""

    caption: str
    seen: str
    figure: Figure


def pictures(table: Comparison) -> Iterator[ComparisonPicture]:
    """The pictures of a table: measures, accuracy against robustness and cost, curves and staircases of the measured rows."""
    measured = [row for row in table.rows if row.runs]
    yield from _measures(table, measured)
    yield from _scatters(table, measured)
    for norm in ("linf", "l2"):
        if counted := {row.name: curve for row in measured if (curve := _curve(row, norm))}:
            counts = sorted({count for _, count in counted.values()})
            caption = f"Accuracy under PGD-20 ({norm}), of the first {' or '.join(f'{count}' for count in counts)} images"
            curves = {name: curve for name, (curve, _) in counted.items()}
            ends = {name: f"{100 * shares[0]:.1f} % at radius {at[0]:.3g}, {100 * shares[-1]:.1f} % at {at[-1]:.3g}"
                    for name, (at, shares) in curves.items()}  # fmt: skip
            figure = plots.compared_attacks(curves, f"radius ({norm}) [pixel units]")
            yield ComparisonPicture(caption, _told("Falling curves", ends), figure)
    for column in table.columns:
        if column.title in RADIUS_TITLES:
            stairs = {row.name: certified for row in measured if (certified := radii(row, column)) is not None}
            if stairs:
                caption = f"Certified accuracy: {column.title}, {column.settings}"
                middle = {name: f"{np.mean(certified > 0):.0%} of the images certified, "
                          f"median radius {percentile_radius(certified, 50):.3g}"
                          for name, certified in stairs.items()}  # fmt: skip
                figure = plots.compared_certificates(stairs, "certified radius [pixel units]")
                yield ComparisonPicture(caption, _told("Falling staircases", middle), figure)


def _measures(table: Comparison, measured: Sequence[ComparisonRow]) -> Iterator[ComparisonPicture]:
    """The measures of all rows side by side: accuracies, and certified radii."""
    headings = dict(zip(table.columns, table.headings, strict=True))
    for caption, columns, label, is_log in (
        ("Accuracy, clean and attacked", [c for c in table.columns if c.title not in NOT_ACCURACIES], "accuracy [%]", False),
        ("Mean certified radius", [c for c in table.columns if c.title in RADIUS_TITLES], "radius [pixel units]", True),
    ):
        rows = [row for row in measured if any(column in row.cells for column in columns)]
        series = {
            ", ".join(filter(None, headings[column])): [
                (cell.value, cell.std or np.nan) if (cell := row.cells.get(column)) else (np.nan, np.nan) for row in rows
            ]
            for column in columns
        }
        if rows and any(column.title != CLEAN for column in columns):
            said = {
                row.name: ", ".join(f"{c.title} {number(row.cells[c].value, c)}" for c in columns if c in row.cells)
                for row in rows
            }
            figure = plots.compared_measures([row.name for row in rows], series, label, is_log)
            yield ComparisonPicture(caption, _told("A line for each network with a mark for each measure", said), figure)


def _scatters(table: Comparison, measured: Sequence[ComparisonRow]) -> Iterator[ComparisonPicture]:
    """Clean accuracy against robustness, against the cost of the search, and against the multiply-adds of an image."""
    clean = {row.name: value for row in measured if (value := _first(row, [c for c in table.columns if c.title == CLEAN]))}
    robust = _robustness(table, measured)
    choices: list[tuple[str, Mapping[str, Column]]] = []
    if robust is not None:
        choices.append(("robustness", {row.name: robust for row in measured if robust in row.cells}))
    for title in (*COSTS, MULTIPLY_ADDS):
        columns = [column for column in table.columns if column.title == title]
        choices.append(("cost", {row.name: value for row in measured if (value := _first(row, columns))}))
    for what, of_row in choices:
        rows = [row for row in measured if row.name in of_row and row.name in clean]
        if len(rows) < 2:
            continue
        points, said = {}, {}
        for row in rows:
            along, up = of_row[row.name], _same_images(row, of_row[row.name]) or clean[row.name]
            points[row.name] = _figure(row, along), _figure(row, up)
            said[row.name] = (
                f"{along.title} {number(row.cells[along].value, along)}, accuracy {number(row.cells[up].value, up)} %"
            )
        column = next(iter(of_row.values()))
        label = ", ".join(filter(None, (column.title, column.settings if what == "robustness" else "")))
        costs = [along[0] for along, _ in points.values()]
        is_log = what == "cost" and min(costs) > 0 and max(costs) > 10 * min(costs)
        unit = " [%]" if column.title not in NOT_ACCURACIES else ""
        figure = plots.compared_points(points, label + unit, "clean accuracy [%]", is_log)
        yield ComparisonPicture(f"Clean accuracy against {what}: {label}", _told("A mark for each network", said), figure)


def _robustness(table: Comparison, measured: Sequence[ComparisonRow]) -> Column | None:
    """The measure of robustness that most rows have: the worst case if they have it, else another attack, else a radius."""
    attacks = [c for c in table.columns if c.images and c.title != CLEAN and c.title not in NOT_ACCURACIES]
    for columns in (attacks, [c for c in table.columns if c.title in RADIUS_TITLES]):
        counts = {column: sum(column in row.cells for row in measured) for column in columns}
        if counts and max(counts.values()) > 1:
            return max(counts, key=lambda c: (counts[c], c.title == WORST, c.title.startswith("AutoAttack"), c.radius))
    return None


def _first(row: ComparisonRow, columns: Sequence[Column]) -> Column | None:
    return next((column for column in columns if column in row.cells), None)


def _same_images(row: ComparisonRow, column: Column) -> Column | None:
    """The clean accuracy of a row on the images of another of its measures."""
    return next((c for c in row.cells if column.images and c.title == CLEAN and c.images == column.images), None)


def _figure(row: ComparisonRow, column: Column) -> tuple[float, float, float]:
    low, high = interval(row, column) or (math.nan, math.nan)
    return row.cells[column].value, low, high


def _told(what: str, said: Mapping[str, str]) -> str:
    """The text of a picture: its kind, and the figures of each row."""
    return f"{what}. {'; '.join(f'{name}: {text}' for name, text in said.items())}."


def _curve(row, norm):
    """((radii, accuracies) under PGD-20, number of images) of the first training with such a curve; None without any."""
    for run in row.runs:
        for result in run.attacks:
            if result["config"]["norm"] == norm and (points := result["curve"]["points"]):
                own = sorted((p["radius"], p["accuracy"]) for p in points if p["name"] in ("clean", "PGD-20"))
                curve = [radius for radius, _ in own], [accuracy for _, accuracy in own]
                return curve, result["curve"].get("examples", result["examples"])
    return None
