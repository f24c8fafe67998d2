"""Rows of the paper's figures beside measured rows, where both measure the same thing."""

from collections.abc import Iterable, Sequence

from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.columns import COSTS, Column
from dsrna_jax.comparison.names import facet
from dsrna_jax.comparison.paper_tables import CLEAN, COST, PARAMS
from dsrna_jax.comparison.rows import ComparisonRow, TableCell
from dsrna_jax.comparison.runs import STOPPED, FinishedTraining

PAPER_COST = Column(COST, how="as the paper prints it")


def with_paper_rows(rows: Sequence[ComparisonRow], columns: Iterable[Column]) -> list[ComparisonRow]:
    """The rows, and after the last one of each method, data set and kind of training the paper's row of it.

    A figure of the paper is put in columns of the same norm, stated radius and split alone, beside trainings of the same kind on
    the same data. The paper names no restarts of PGD: its figures are those of one start. Figures of other protocols, and rows
    without any figure, are left out.
    """
    last = {key: index for index, row in enumerate(rows) if (key := _paper_key(row.runs[0]))}
    keys = {index: key for key, index in last.items()}
    both = []
    for index, row in enumerate(rows):
        both.append(row)
        if index in keys and (printed := _printed(keys[index][0], row.runs[0], columns)):
            both.append(printed)
    return both


def _paper_key(run: FinishedTraining) -> tuple[str, str, int, bool] | None:
    """The paper's name of a run's method, and the data and kind of training; None if the paper has no such method."""
    config = run.config
    if run.search:
        name = None if STOPPED in run.search.config else paper_tables.method(run.search.config, config.dataset)
    else:
        name = paper_tables.ROWS.get(config.genotype)
    return (name, config.dataset, config.image_size, config.is_adversarial) if name else None


def _printed(name: str, run: FinishedTraining, columns: Iterable[Column]) -> ComparisonRow | None:
    """The paper's row of that name, with the figures that match the run and the columns; None if no figure does."""
    cells, config = {}, run.config
    for title, figure in paper_tables.figures(name, config.dataset).items():
        wanted = paper_tables.protocol(title, name, config.dataset)
        if config.image_size not in wanted.sides or config.is_adversarial != wanted.is_adversarial:
            continue
        for column in columns:
            if column.title == title and _matches(column, wanted):
                cells[column] = TableCell(figure.value, figure.std, 1, f"Table {figure.table}, row {name}")
    tables = sorted({cell.note.split(",")[0].removeprefix("Table ") for cell in cells.values()})
    kind = "adversarial" if config.is_adversarial else "standard"
    name = f"paper: {name}; {config.dataset}, {kind} (Table{'s' * (len(tables) > 1)} {', '.join(tables)})"
    return ComparisonRow(name, (), cells, facet=facet(run)) if cells else None


def _matches(column: Column, wanted: paper_tables.Protocol) -> bool:
    """Whether a column measures the same as a figure of the paper with its title and the protocol `wanted`."""
    if column.title in COSTS:
        return column == PAPER_COST
    if column.title == PARAMS:
        return True
    if column.images is None or column.images.split != wanted.split:
        return False
    if column.title.startswith("PGD") and "random starts" in column.budget:
        return False
    if not wanted.norm:
        return column.title == CLEAN or not column.norm
    return column.norm == wanted.norm and wanted.radius is not None and abs(column.radius - wanted.radius) < 1e-6
