"""The table of a comparison: a row for each kind of training, a column for each measure, and the paper's figures."""

from collections.abc import Sequence
from typing import NamedTuple

from dsrna_jax.comparison.columns import MULTIPLY_ADDS, NOT_ACCURACIES, RADIUS_TITLES, Column, Images, ordered
from dsrna_jax.comparison.notes import PAPER_NOTE, notes
from dsrna_jax.comparison.paper_rows import PAPER_COST, with_paper_rows
from dsrna_jax.comparison.paper_tables import CLEAN, PARAMS
from dsrna_jax.comparison.rows import ComparisonRow, measured_rows
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.invocation import command_line

_ALWAYS = (Column(CLEAN, images=Images("test")), Column(PARAMS), Column(MULTIPLY_ADDS))


class Comparison(NamedTuple):
    """Columns and rows in their order on the page, and notes, which name the commands that fill gaps."""

    columns: list[Column]
    rows: list[ComparisonRow]
    notes: list[str]

    @property
    def headings(self) -> list[tuple[str, str]]:
        """Title and settings of each column, with the budget if another column has the same title and settings."""
        heads = [(column.title, column.settings) for column in self.columns]
        unclear = [heads.count(head) > 1 for head in heads]
        return [(c.title, f"{c.settings}; {c.budget}" if u else c.settings) for c, u in zip(self.columns, unclear, strict=True)]

    @property
    def facets(self) -> "list[tuple[str, Comparison]]":
        """A table for each data set and kind of training, with its name, its rows, and the columns of which it has figures."""
        tables = []
        for name in dict.fromkeys(row.facet for row in self.rows):
            rows = [row for row in self.rows if row.facet == name]
            columns = [column for column in self.columns if column in _ALWAYS or any(column in row.cells for row in rows)]
            tables.append((name, Comparison(columns, rows, [])))
        return tables

    def best(self, column: Column) -> float | None:
        """The best measured value of a column: the largest accuracy or radius, the least size or cost; None if one is alone."""
        values = [row.cells[column].value for row in self.rows if row.runs and column in row.cells]
        is_less = column.title in NOT_ACCURACIES and column.title not in RADIUS_TITLES
        return None if len(values) < 2 else min(values) if is_less else max(values)


def comparison(runs: Sequence[FinishedTraining]) -> Comparison:
    """Finished trainings side by side, in the order in which they are given.

    Raises: InputError if there are none, or if two are the same training.
    """
    if not runs:
        raise InputError(f"no runs to compare: expected one or more run folders of {command_line('train')}")
    rows = measured_rows(runs)
    measured = {column for row in rows for column in row.cells}
    measured |= {column for column in _ALWAYS if column.title not in {known.title for known in measured}}
    both = with_paper_rows(rows, [*measured, PAPER_COST])
    columns = ordered(measured | {column for row in both for column in row.cells})
    return Comparison(columns, both, notes(rows, columns) + [PAPER_NOTE] * (len(both) > len(rows)))
