"""A comparison as one HTML page."""

import base64
import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from dsrna_jax import plots
from dsrna_jax.comparison.columns import NOT_ACCURACIES, RADIUS_TITLES, Column
from dsrna_jax.comparison.pictures import pictures
from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import row_texts
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.pages import SORTABLE, document, safe, sort_button, table_caption
from dsrna_jax.plots.canvas import literal


def page(table: Comparison) -> str:
    """An HTML page in one file: table, notes, pictures and cells. Its columns sort at a click; the best of each are marked."""
    heads = "".join(
        f'<th scope="col" title="{safe(column.budget)}">{sort_button(title)}<small>{safe(settings)}</small></th>'
        for column, (title, settings) in zip(table.columns, table.headings, strict=True)
    )
    best = {column: _best(table, column) for column in table.columns}
    rows = []
    for row in table.rows:
        cells = []
        for column, text in zip(table.columns, row_texts(row, table.columns), strict=True):
            cell = row.cells.get(column)
            value = "" if cell is None else f' data-value="{cell.value!r}"'
            mark = " class=best" if cell and row.runs and cell.value == best[column] else ""
            cells.append(f'<td{value}{mark} title="{safe(cell.note if cell else "")}">{safe(text)}</td>')
        paths = " ".join(str(run.path) for run in row.runs)
        heading = f'<th scope="row" title="{safe(paths)}">{safe(row.name)}</th>'
        rows.append(f"<tr{'' if row.runs else ' class=paper'}>{heading}{''.join(cells)}</tr>")
    figures = [_figure(caption, figure) for caption, figure in pictures(table)]
    architectures: dict[Genotype | DenseGenotype, list[str]] = {}
    for row in table.rows:
        for architecture in dict.fromkeys(run.architecture for run in row.runs):
            if not isinstance(architecture, RobNet):
                architectures.setdefault(architecture, []).append(row.name)
    cells = [_figure(f"Cells of {'; '.join(names)}", plots.cells(a, width=1600)) for a, names in architectures.items()]
    notes = "".join(f"<li>{safe(note)}</li>" for note in table.notes)
    about = "Rows in italics are the paper's; the best measured figure of a column is marked. A heading sorts by its column."
    body = [
        f'<div class="wide" tabindex="0" role="region" aria-label="table"><table class="sortable">{table_caption(about)}',
        f'<thead><tr><th scope="col">{sort_button("Architecture")}</th>{heads}</tr></thead>',
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>",
        f"<ul>{notes}</ul>",
        *figures,
        *cells,
        SORTABLE,
    ]
    return document("Comparison", "\n".join(body))


def _best(table: Comparison, column: Column) -> float | None:
    """The best measured value of a column: the largest accuracy or radius, the least weights, operations or cost; None of one."""
    values = [row.cells[column].value for row in table.rows if row.runs and column in row.cells]
    is_less = column.title in NOT_ACCURACIES and column.title not in RADIUS_TITLES
    return None if len(values) < 2 else min(values) if is_less else max(values)


def _figure(caption: str, figure: Figure) -> str:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": caption}), literal(figure):  # equal pictures give equal files
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(file.getvalue()).decode()
    text = safe(caption)
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
