"""The grid of a table: our figures, the paper's beside them, rows that do not run, notes; the pages are made of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.paper_tables import PaperFigure
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.reproduction.graph import RunGraph
from dsrna_jax.reproduction.protocols import Scale, Table
from dsrna_jax.reproduction.results import Figure, figure, printed

ABSENT = "—"


class Heading(NamedTuple):
    """The heading of a column; `is_paper` if its figures are the paper's."""

    title: str
    says: str = ""
    is_paper: bool = False


class Entry(NamedTuple):
    """A figure as text, with the folders of its runs, and its budget in words."""

    text: str
    figure: Figure | PaperFigure | None = None
    runs: tuple[Path, ...] = ()
    how: str = ""


class Line(NamedTuple):
    """A row: its name, its entries, and the reason if it has no figures."""

    name: str
    entries: list[Entry]
    reason: str = ""


class Grid(NamedTuple):
    """A table as it is shown.

    data: the data sets that stand for those of the paper, in words.
    budgets: images and budget of each column.
    departures: from the paper's protocol.
    networks: the size and the training of the networks that were measured.
    """

    title: str
    headings: list[Heading]
    lines: list[Line]
    protocol: str
    data: list[str]
    budgets: list[str]
    departures: list[str]
    networks: Sequence[str] = ()

    @property
    def notes(self) -> list[tuple[str, Sequence[str]]]:
        """Lists of notes with their headings, without empty ones."""
        lists = [("Networks", self.networks), ("Images and budgets", self.budgets), ("Departures", self.departures)]
        return [(heading, notes) for heading, notes in lists if notes]


def grid(
    table: Table, scale: Scale, graph: RunGraph, read_runs: Mapping[str, FinishedTraining], left_out: Mapping[str, str],
    departures: Sequence[str],
) -> Grid:  # fmt: skip
    """The grid of a table.

    Args:
      read_runs: the finished trainings by name.
      left_out: rows that do not run, each with the reason and its cost.
      departures: from the paper's protocol, in words.
    """
    cells = [cell for cell in graph.cells if cell.table == table.number]
    sets = scale.tables.get(table.number, {})
    headings, columns = [], []
    for data in sets:
        for column in table.columns:
            own = {cell.method.name: cell for cell in cells if (cell.data, cell.column) == (data, column)}
            prefix = f"{data}: " if len(sets) > 1 else ""
            figures = {name: figure(cell, read_runs) for name, cell in own.items()}
            called = {one.title for one in figures.values() if one} - {""}  # not AutoAttack, if parts of it ran
            headings.append(Heading(f"{prefix}{' or '.join(sorted(called)) or column.title}", column.says))
            columns.append({name: _ours(one, len(own[name].trainings)) for name, one in figures.items()})
            theirs = {name: _theirs(one) for name, cell in own.items() if (one := printed(cell))}
            if theirs:
                headings.append(Heading(f"{prefix}{column.title}", "the paper", True))
                columns.append(theirs)
    measured = {cell.method.row: cell.method.name for cell in cells}
    order = [*paper_tables.rows(table.number), *measured]
    lines = [
        Line(row, [], left_out[row]) if row in left_out else Line(row, [of.get(measured[row], Entry(ABSENT)) for of in columns])
        for row in sorted({*measured, *left_out}, key=order.index)
    ]
    stand_ins = [f"Data: {scale.data[name].says}, in place of {data}." for data, name in sets.items() if name != data]
    departed = [f"{text}." for text in departures]
    return Grid(table.title, headings, lines, table.protocol, stand_ins, _budgets(headings, columns), departed)


def _ours(own: Figure | None, wanted: int) -> Entry:
    if own is None:
        return Entry(ABSENT)
    so_far = f" ({own.count} of {wanted})" if own.count < wanted else ""
    return Entry(_text(own.value, own.std) + so_far, own, own.runs, own.how)


def _theirs(stated: PaperFigure) -> Entry:
    return Entry(_text(stated.value, stated.std), stated, how=f"Table {stated.table}")


def _text(value: float, std: float | None) -> str:
    kind = ".2f" if abs(value) >= 1 else ".4f" if not 0 < abs(value) < 0.001 else ".2g"
    return f"{value:{kind}}" + ("" if std is None else f" ± {std:{kind}}")


def _budgets(headings: Sequence[Heading], columns: Sequence[Mapping[str, Entry]]) -> list[str]:
    """The images and the budget of each of our columns."""
    notes = []
    for heading, column in zip(headings, columns, strict=True):
        ways = dict.fromkeys(entry.how for entry in column.values() if entry.how)
        if ways and not heading.is_paper:
            notes.append(f"{heading.title}{f' ({heading.says})' if heading.says else ''}: {'; '.join(ways)}.")
    return notes
