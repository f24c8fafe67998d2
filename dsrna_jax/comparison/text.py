"""A comparison as Markdown and as CSV."""

import csv
import io

from dsrna_jax.comparison.columns import COSTS, MULTIPLY_ADDS, NOT_ACCURACIES, Column
from dsrna_jax.comparison.paper_tables import PARAMS
from dsrna_jax.comparison.rows import ComparisonRow, TableCell
from dsrna_jax.comparison.table import Comparison

ABSENT = "—"


def markdown(table: Comparison) -> str:
    """The table, aligned, and its notes."""
    heads = ["Architecture", *(", ".join(filter(None, heading)) for heading in table.headings)]
    lines = [heads, *([row.name, *row_texts(row, table.columns)] for row in table.rows)]
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in (lines[0], rules, *lines[1:])
    ]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *(f"- {note}" for note in table.notes), ""])


def comma_separated(table: Comparison) -> str:
    """CSV with value, standard deviation and number of trainings or searches of every measure; empty if not measured."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [", ".join(filter(None, (column.title, column.settings, column.budget))) for column in table.columns]
    parts = [f"{head}{part}" for head in heads for part in ("", " (standard deviation)", " (count)")]
    writer.writerow(["architecture", *parts, "runs", "source"])
    for row in table.rows:
        cells = [row.cells.get(column) for column in table.columns]
        values = [value for c in cells for value in ((c.value, c.std, c.count) if c else ("", "", ""))]
        sources = sorted({cell.note for cell in row.cells.values() if cell.note})
        writer.writerow([row.name, *values, " ".join(str(run.path) for run in row.runs), "; ".join(sources)])
    return file.getvalue()


def row_texts(row: ComparisonRow, columns: list[Column]) -> list[str]:
    """The cells of a row as text, in the order of the columns."""
    return [_text(row.cells.get(column), column, row.count) for column in columns]


def _text(cell: TableCell | None, column: Column, count: int) -> str:
    if cell is None:
        return ABSENT
    shown = "{:.3g}" if column.title in NOT_ACCURACIES else "{:.2f}"
    text = shown.format(cell.value)
    if cell.std is not None and (cell.std or column.title not in (PARAMS, MULTIPLY_ADDS, *COSTS)):
        text += " ± " + shown.format(cell.std)
    return f"{text} ({cell.count} of {count})" if 0 < cell.count < count else text
