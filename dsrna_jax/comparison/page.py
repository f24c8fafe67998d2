"""A comparison as one HTML page."""

import base64
import html
import io
from string import Template

from matplotlib import rc_context
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.pictures import pictures
from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import row_texts
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.plots.canvas import literal


def page(table: Comparison) -> str:
    """An HTML page in one file: table, notes, pictures and cells, for light and dark screens."""
    heads = "".join(
        f'<th title="{_safe(column.budget)}">{_safe(title)}<small>{_safe(settings)}</small></th>'
        for column, (title, settings) in zip(table.columns, table.headings, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f'<td title="{_safe(row.cells[column].note if column in row.cells else "")}">{_safe(text)}</td>'
            for column, text in zip(table.columns, row_texts(row, table.columns), strict=True)
        )
        paths = " ".join(str(run.path) for run in row.runs)
        rows.append(f'<tr{"" if row.runs else " class=paper"}><th title="{_safe(paths)}">{_safe(row.name)}</th>{cells}</tr>')
    figures = [_figure(caption, figure) for caption, figure in pictures(table)]
    architectures: dict[Genotype | DenseGenotype, list[str]] = {}
    for row in table.rows:
        for architecture in dict.fromkeys(run.architecture for run in row.runs):
            if not isinstance(architecture, RobNet):
                architectures.setdefault(architecture, []).append(row.name)
    cells = [_figure(f"Cells of {'; '.join(names)}", plots.cells(a, width=1600)) for a, names in architectures.items()]
    notes = "".join(f"<li>{_safe(note)}</li>" for note in table.notes)
    parts = {"heads": heads, "rows": "\n".join(rows), "notes": notes, "pictures": "\n".join(figures), "cells": "\n".join(cells)}
    return Template(_PAGE).substitute(parts)


def _figure(caption: str, figure: Figure) -> str:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": caption}), literal(figure):  # equal pictures give equal files
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
