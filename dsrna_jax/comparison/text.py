"""A comparison as Markdown and as CSV."""

import csv
import io

from dsrna_jax.comparison.columns import COSTS, MULTIPLY_ADDS, NOT_ACCURACIES, Column
from dsrna_jax.comparison.intervals import interval
from dsrna_jax.comparison.paper_tables import PARAMS
from dsrna_jax.comparison.rows import ComparisonRow, TableCell
from dsrna_jax.comparison.table import Comparison

ABSENT = "—"


def markdown(table: Comparison) -> str:
    """A table for each data set and kind of training, aligned, and the notes."""
    parts = []
    for name, facet in table.facets:
        heads = ["Architecture", *(", ".join(filter(None, heading)) for heading in facet.headings)]
        lines = [heads, *([row.name, *row_texts(row, facet.columns)] for row in facet.rows)]
        lines = [[text.replace("|", "\\|") for text in line] for line in lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        rows = [
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
            for line in (lines[0], rules, *lines[1:])
        ]
        parts += [f"## {name}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*parts, *(f"- {note}" for note in table.notes), ""])


def comma_separated(table: Comparison) -> str:
    """CSV with a line for each figure: its 95 % interval, and the number of trainings or searches that it is a mean of."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = "facet", "architecture", "measure", "settings", "budget", "value", "low", "high", "std", "count", "source", "runs"
    writer.writerow(heads)
    for row in table.rows:
        runs = " ".join(str(run.path) for run in row.runs)
        for column in table.columns:
            if (cell := row.cells.get(column)) is None:
                continue
            low, high = interval(row, column) or ("", "")
            std, source = "" if cell.std is None else cell.std, "measured" if row.runs else cell.note
            figure = cell.value, low, high, std, cell.count, source, runs
            writer.writerow([row.facet, row.name, column.title, column.settings, column.budget, *figure])
    return file.getvalue()


def number(value: float, column: Column) -> str:
    """A value of a column as text, in its number of digits."""
    return f"{value:.3g}" if column.title in NOT_ACCURACIES else f"{value:.2f}"


def row_texts(row: ComparisonRow, columns: list[Column]) -> list[str]:
    """The cells of a row as text, in the order of the columns."""
    return [_text(row.cells.get(column), column, row.count) for column in columns]


def _text(cell: TableCell | None, column: Column, count: int) -> str:
    if cell is None:
        return ABSENT
    text = number(cell.value, column)
    if cell.std is not None and (cell.std or column.title not in (PARAMS, MULTIPLY_ADDS, *COSTS)):
        text += f" ± {number(cell.std, column)}"
    return f"{text} ({cell.count} of {count})" if 0 < cell.count < count else text
