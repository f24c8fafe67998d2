"""A comparison as one HTML page."""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.columns import NOT_ACCURACIES, RADIUS_TITLES, Column
from dsrna_jax.comparison.pictures import pictures
from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import row_texts
from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.pages import SORTABLE, document, picture, safe, sort_button, table
from dsrna_jax.plots.canvas import literal


def page(comparison: Comparison) -> str:
    """An HTML page in one file: table, notes, pictures and cells. Its columns sort at a click; the best of each are marked."""
    heads = "".join(
        f'<th scope="col" title="{safe(column.budget)}">{sort_button(title)}<small>{safe(settings)}</small></th>'
        for column, (title, settings) in zip(comparison.columns, comparison.headings, strict=True)
    )
    best = {column: _best(comparison, column) for column in comparison.columns}
    rows = []
    for row in comparison.rows:
        cells = []
        for column, text in zip(comparison.columns, row_texts(row, comparison.columns), strict=True):
            cell = row.cells.get(column)
            value = "" if cell is None else f' data-value="{cell.value!r}"'
            mark = " class=best" if cell and row.runs and cell.value == best[column] else ""
            cells.append(f'<td{value}{mark} title="{safe(cell.note if cell else "")}">{safe(text)}</td>')
        paths = " ".join(str(run.path) for run in row.runs)
        heading = f'<th scope="row" title="{safe(paths)}">{safe(row.name)}</th>'
        rows.append(f"<tr{'' if row.runs else ' class=paper'}>{heading}{''.join(cells)}</tr>")
    figures = [_figure(caption, figure) for caption, figure in pictures(comparison)]
    architectures: dict[Searched, list[str]] = {}
    for row in comparison.rows:
        for architecture in dict.fromkeys(run.architecture for run in row.runs):
            if not isinstance(architecture, RobNet):
                architectures.setdefault(architecture, []).append(row.name)
    cells = [_figure(f"Cells of {'; '.join(names)}", plots.cells(a, width=1600)) for a, names in architectures.items()]
    notes = "".join(f"<li>{safe(note)}</li>" for note in comparison.notes)
    about = "Rows in italics are the paper's; the best measured figure of a column is marked. A heading sorts by its column."
    body = [
        table(about, f'<th scope="col">{sort_button("Architecture")}</th>{heads}', rows, label="comparison", is_sortable=True),
        f"<ul>{notes}</ul>",
        *figures,
        *cells,
        SORTABLE,
    ]
    return document("Comparison", "\n".join(body))


def _best(comparison: Comparison, column: Column) -> float | None:
    """The best measured value of a column: the largest accuracy or radius, the least weights, operations or cost; None of one."""
    values = [row.cells[column].value for row in comparison.rows if row.runs and column in row.cells]
    is_less = column.title in NOT_ACCURACIES and column.title not in RADIUS_TITLES
    return None if len(values) < 2 else min(values) if is_less else max(values)


def _figure(caption: str, figure: Figure) -> str:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": caption}), literal(figure):  # equal pictures give equal files
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return picture(file.getvalue(), "svg+xml", caption)
