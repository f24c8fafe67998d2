"""Trained networks side by side: a row a training, its seeds together, a column a measure, the paper's figures beside them."""

from collections.abc import Sequence
from typing import NamedTuple

from dsrna_jax.comparison.columns import MULTIPLY_ADDS, Column, ordered
from dsrna_jax.comparison.notes import PAPER_NOTE, notes
from dsrna_jax.comparison.paper_tables import CLEAN, COST, PARAMS
from dsrna_jax.comparison.rows import ComparisonRow, measured_rows, with_paper_rows
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.invocation import command_line

_ALWAYS = (CLEAN, PARAMS, MULTIPLY_ADDS, COST)


class Comparison(NamedTuple):
    """Columns and rows in the order in which they are shown, and notes, which name the commands that fill gaps."""

    columns: list[Column]
    rows: list[ComparisonRow]
    notes: list[str]

    @property
    def headings(self) -> list[tuple[str, str]]:
        """Title and settings of each column, with the budget if another column has the same title and settings."""
        heads = [column[:2] for column in self.columns]
        unclear = [heads.count(column[:2]) > 1 for column in self.columns]
        return [(c.title, f"{c.settings}; {c.budget}" if u else c.settings) for c, u in zip(self.columns, unclear, strict=True)]


def comparison(runs: Sequence[FinishedTraining]) -> Comparison:
    """Finished trainings side by side, in the order in which they are given.

    Raises: InputError if there are none, or if two are the same training.
    """
    if not runs:
        raise InputError(f"no runs to compare: expected one or more run folders of {command_line('train')}")
    rows = measured_rows(runs)
    known = {column for row in rows for column in row.cells}
    columns = ordered(known | {Column(title) for title in _ALWAYS if title not in {column.title for column in known}})
    texts, both = notes(rows, columns), with_paper_rows(rows, columns)
    return Comparison(columns, both, texts + [PAPER_NOTE] * (len(both) > len(rows)))
