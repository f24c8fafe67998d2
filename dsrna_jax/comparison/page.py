"""A comparison as one HTML page."""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.intervals import interval
from dsrna_jax.comparison.pictures import pictures
from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import number, row_texts
from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.pages import SORTABLE, document, picture, safe, sort_button, table
from dsrna_jax.plots.canvas import literal


def page(comparison: Comparison) -> str:
    """An HTML page in one file: for each data set and kind of training a table and pictures; then notes and cells.

    Columns sort at a click; the best of each table are marked.
    """
    body = []
    for name, facet in comparison.facets:
        body += [f"<h2>{safe(name)}</h2>", _table(name, facet)]
        body += [_figure(caption, figure, seen) for caption, seen, figure in pictures(facet)]
    architectures: dict[Searched, list[str]] = {}
    for row in comparison.rows:
        for architecture in dict.fromkeys(run.architecture for run in row.runs):
            if not isinstance(architecture, RobNet):
                architectures.setdefault(architecture, []).append(row.name)
    notes = "".join(f"<li>{safe(note)}</li>" for note in comparison.notes)
    body += [f"<h2>Notes</h2>\n<ul>{notes}</ul>", *(["<h2>Cells</h2>"] if architectures else [])]
    for architecture, names in architectures.items():
        seen = f"Drawing of a genotype. {str(architecture)}"
        body.append(_figure(f"Cells of {'; '.join(names)}", plots.cells(architecture, width=1600), seen))
    return document("Comparison", "\n".join([*body, SORTABLE]))


def _table(name: str, comparison: Comparison) -> str:
    heads = "".join(
        f'<th scope="col" title="{safe(column.budget)}">{sort_button(title)}<small>{safe(settings)}</small></th>'
        for column, (title, settings) in zip(comparison.columns, comparison.headings, strict=True)
    )
    rows = []
    for row in comparison.rows:
        cells = []
        for column, text in zip(comparison.columns, row_texts(row, comparison.columns), strict=True):
            cell = row.cells.get(column)
            value = "" if cell is None else f' data-value="{cell.value!r}"'
            mark = " class=best" if cell and row.runs and cell.value == comparison.best(column) else ""
            limits = interval(row, column)
            ends = f"{number(limits.low, column)} to {number(limits.high, column)}" if limits else ""
            shown = f'{safe(text)}<small class="ends">{ends}</small>' if ends else safe(text)
            cells.append(f'<td{value}{mark} title="{safe(cell.note if cell else "")}">{shown}</td>')
        paths = " ".join(str(run.path) for run in row.runs)
        heading = f'<th scope="row" title="{safe(paths)}">{safe(row.name)}</th>'
        rows.append(f"<tr{'' if row.runs else ' class=paper'}>{heading}{''.join(cells)}</tr>")
    heads = f'<th scope="col">{sort_button("Architecture")}</th>{heads}'
    return table(_ABOUT, heads, rows, label=f"comparison: {name}", is_sortable=True)


_ABOUT = (
    "Rows in italics are the paper's; the best measured figure of a column is marked. Below a figure is its 95 % interval: "
    "over searches or trainings where there are several, else over images. A heading sorts by its column."
)


def _figure(caption: str, figure: Figure, seen: str) -> str:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": caption}), literal(figure):  # equal pictures give equal files
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return picture(file.getvalue(), "svg+xml", caption, seen)
