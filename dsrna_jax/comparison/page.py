"""A comparison as Markdown, as CSV and as one HTML page that needs no other file."""

import base64
import csv
import html
import io
from collections.abc import Iterator
from string import Template

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.paper_tables import CLEAN, COST, L2, LINF, PARAMS
from dsrna_jax.comparison.table import MULTIPLY_ADDS, SMOOTHED, Cell, Column, Comparison, radius_column
from dsrna_jax.genotypes.genotype import Genotype

ABSENT = "—"
_RADII = (LINF, L2, SMOOTHED)
_PLAIN = (*_RADII, PARAMS, MULTIPLY_ADDS, COST)


def markdown(table: Comparison) -> str:
    """A table, aligned, and its notes."""
    heads = ["Architecture", *(", ".join(filter(None, heading)) for heading in table.headings)]
    lines = [heads, *([row.name, *_texts(row, table.columns)] for row in table.rows)]
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in (lines[0], rules, *lines[1:])
    ]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *(f"- {note}" for note in table.notes), ""])


def comma_separated(table: Comparison) -> str:
    """A row a row of the table; value, standard deviation and number of seeds of every measure, empty where there are none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [", ".join(filter(None, column)) for column in table.columns]
    parts = [f"{head}{part}" for head in heads for part in ("", " (standard deviation)", " (seeds)")]
    writer.writerow(["architecture", *parts, "runs", "source"])
    for row in table.rows:
        cells = [row.cells.get(column) for column in table.columns]
        values = [value for c in cells for value in ((c.value, c.std, c.count) if c else ("", "", ""))]
        sources = sorted({cell.note for cell in row.cells.values() if cell.note})
        writer.writerow([row.name, *values, " ".join(str(run.path) for run in row.runs), "; ".join(sources)])
    return file.getvalue()


def page(table: Comparison) -> str:
    """The HTML page: table, notes, pictures and cells, for light and dark screens."""
    heads = "".join(
        f'<th title="{_safe(column.budget)}">{_safe(title)}<small>{_safe(settings)}</small></th>'
        for column, (title, settings) in zip(table.columns, table.headings, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f'<td title="{_safe(row.cells[column].note if column in row.cells else "")}">{_safe(text)}</td>'
            for column, text in zip(table.columns, _texts(row, table.columns), strict=True)
        )
        paths = " ".join(str(run.path) for run in row.runs)
        rows.append(f'<tr{"" if row.runs else " class=paper"}><th title="{_safe(paths)}">{_safe(row.name)}</th>{cells}</tr>')
    pictures = [_figure(caption, figure) for caption, figure in _pictures(table)]
    architectures: dict[Genotype, list[str]] = {}
    for row in table.rows:
        if row.runs and isinstance(row.runs[0].architecture, Genotype):
            architectures.setdefault(row.runs[0].architecture, []).append(row.name)
    cells = [_figure(f"Cells of {'; '.join(names)}", plots.cells(a, width=1600)) for a, names in architectures.items()]
    notes = "".join(f"<li>{_safe(note)}</li>" for note in table.notes)
    parts = {"heads": heads, "rows": "\n".join(rows), "notes": notes, "pictures": "\n".join(pictures), "cells": "\n".join(cells)}
    return Template(_PAGE).substitute(parts)


def _texts(row, columns: list[Column]) -> list[str]:
    return [_text(row.cells.get(column), column, len(row.runs)) for column in columns]


def _text(cell: Cell | None, column: Column, runs: int) -> str:
    if cell is None:
        return ABSENT
    shown = "{:.3g}" if column.title in _PLAIN else "{:.2f}"
    text = shown.format(cell.value)
    if cell.std is not None and (cell.std or column.title not in (PARAMS, MULTIPLY_ADDS)):
        text += " ± " + shown.format(cell.std)
    return f"{text} ({cell.count} of {runs})" if 0 < cell.count < runs else text


def _pictures(table: Comparison) -> Iterator[tuple[str, Figure]]:
    measured = [row for row in table.rows if row.runs]
    headings = dict(zip(table.columns, table.headings, strict=True))
    for caption, columns, label, is_log in (
        ("Accuracy, clean and attacked", [c for c in table.columns if c.title not in _PLAIN], "accuracy [%]", False),
        ("Mean certified radius", [c for c in table.columns if c.title in _RADII], "radius [pixel units]", True),
    ):
        rows = [row for row in measured if any(column in row.cells for column in columns)]
        series = {
            ", ".join(filter(None, headings[column])): [
                (cell.value, cell.std or np.nan) if (cell := row.cells.get(column)) else (np.nan, np.nan) for row in rows
            ]
            for column in columns
        }
        if rows and any(column.title != CLEAN for column in columns):
            yield caption, plots.compared_measures([row.name for row in rows], series, label, is_log)
    for norm in ("linf", "l2"):
        if curves := {row.name: curve for row in measured if (curve := _curve(row, norm))}:
            yield f"Accuracy under PGD-20 ({norm})", plots.compared_attacks(curves, f"radius ({norm}) [pixel units]")
    for column in table.columns:
        if column.title in _RADII:
            stairs = {row.name: radii for row in measured if (radii := _radii(row, column)) is not None}
            if stairs:
                caption = f"Certified accuracy: {column.title}, {column.settings}"
                yield caption, plots.compared_certificates(stairs, "certified radius [pixel units]")


def _curve(row, norm):
    """(radii, accuracies) under PGD-20 of the first seed that has them."""
    for run in row.runs:
        for result in run.attacks:
            if result["config"]["norm"] == norm and (points := result.get("curve", {}).get("points")):
                own = sorted((p["radius"], p["accuracy"]) for p in points if p["name"] in ("clean", "PGD-20"))
                return [radius for radius, _ in own], [accuracy for _, accuracy in own]
    return None


def _radii(row, column):
    """Radii of all images of all seeds, or None."""
    found = [
        arrays["minimum"]
        for run in row.runs
        for result, arrays in zip(run.certificates, run.radii, strict=True)
        if arrays and radius_column(result) == column
    ]
    return np.concatenate(found) if found else None


def _figure(caption: str, figure: Figure) -> str:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": caption}):  # the same picture, the same file
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(file.getvalue()).decode()
    text = _safe(caption)
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _safe(text: str) -> str:
    return html.escape(text)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison</title>
<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --faint: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #171717; --line: #3a3a3a; --faint: #a0a0a0; } }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: var(--ink); background: var(--paper); }
body { font: 15px/1.5 system-ui, sans-serif; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
td { white-space: nowrap; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 12rem; }
thead th { font-weight: 600; }
thead th:not(:first-child) { min-width: 5.5rem; }
thead small { display: block; color: var(--faint); font-weight: 400; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.paper > * { color: var(--faint); font-style: italic; }
li { margin: .2rem 0; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; padding: .8rem; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figure img { display: block; width: 100%; }
figcaption { color: #333; font-weight: 600; padding-top: .5rem; }
</style>
</head>
<body>
<h1>Comparison</h1>
<div class="wide"><table>
<thead><tr><th>Architecture</th>$heads</tr></thead>
<tbody>
$rows
</tbody>
</table></div>
<ul>$notes</ul>
$pictures
$cells
</body>
</html>
"""
