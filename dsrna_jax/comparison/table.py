"""The table of a comparison: a row for each kind of training, a column for each measure, and the paper's figures."""

from collections.abc import Sequence
from typing import NamedTuple

from dsrna_jax.comparison.columns import MULTIPLY_ADDS, Column, Images, ordered
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
