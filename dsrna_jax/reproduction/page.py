"""Grids as HTML, Markdown, CSV and LaTeX."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.comparison.latex import escaped
from dsrna_jax.pages import document, safe, table
from dsrna_jax.reproduction.grid import Entry, Grid, Line


def html(grids: Sequence[Grid], title: str, summary: Sequence[str], out: Path) -> str:
    """A page of all tables in `out`, to whose folders of runs its figures are links."""
    parts = [f"<p>{safe(text)}</p>" for text in summary]
    for grid in grids:
        parts += [f"<h2>{safe(grid.title)}</h2>", f"<p>{safe(grid.protocol)}</p>"]
        parts += [f"<p><strong>{safe(text)}</strong></p>" for text in grid.data]
        parts += [_table(grid, out)] if grid.lines else []
        for heading, notes in grid.notes:
            parts.append(f"<h3>{heading}</h3>\n<ul>{''.join(f'<li>{safe(note)}</li>' for note in notes)}</ul>")
    return document(title, "\n".join(parts))


def markdown(grids: Sequence[Grid], title: str, summary: Sequence[str]) -> str:
    """All tables, with their protocols and notes."""
    parts = [f"# {title}", *summary]
    for grid in grids:
        heads = ["Method", *(f"{h.title}{f' ({h.says})' if h.says else ''}" for h in grid.headings)]
        lines = [heads, ["---", *["---:"] * len(grid.headings)]]
        lines += [[line.name, *_texts(line, len(grid.headings))] for line in grid.lines]
        text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        notes = [f"{about}:\n\n" + "\n".join(f"- {note}" for note in list_) for about, list_ in grid.notes]
        parts += [f"## {grid.title}", grid.protocol, *grid.data, text if grid.lines else "", *notes]
    return "\n\n".join(filter(None, parts)) + "\n"


def comma_separated(grids: Sequence[Grid]) -> str:
    """Every figure in a line of its own: table, row, column, source, value, standard deviation, count, runs, budget."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "method", "column", "source", "value", "std", "count", "runs", "how"])
    for grid in grids:
        for line in grid.lines:
            for heading, entry in zip(grid.headings, line.entries, strict=False):
                if (figure := entry.figure) is not None:
                    source = "paper" if heading.is_paper else "measured"
                    std = "" if figure.std is None else figure.std
                    runs = " ".join(map(str, entry.runs))
                    count = "" if heading.is_paper else figure.count
                    writer.writerow([grid.title, line.name, heading.title, source, figure.value, std, count, runs, entry.how])
    return file.getvalue()


def latex(grids: Sequence[Grid]) -> str:
    """All tables for booktabs; a row or a table that does not run is a remark."""
    parts = []
    for grid in grids:
        if not grid.lines:
            parts.append(f"% {grid.title}\n% {grid.protocol}")
            continue
        heads = " & ".join(["Method", *(escaped(f"{h.title} (paper)" if h.is_paper else h.title) for h in grid.headings)])
        rows = [" & ".join([escaped(line.name), *(escaped(entry.text) for entry in line.entries)]) + r" \\" for line in grid.lines
                if line.entries]  # fmt: skip
        remarks = [f"% {line.name}: {line.reason}" for line in grid.lines if line.reason]
        parts.append("\n".join([
            f"% {grid.title}", rf"\begin{{tabular}}{{l{'r' * len(grid.headings)}}}", r"\toprule", heads + r" \\", r"\midrule",
            *rows, r"\bottomrule", r"\end{tabular}", *remarks,
        ]))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid, out: Path) -> str:
    about = "Mean ± standard deviation over searches. A figure leads to the run that measured it; the paper's are in italics."
    heads = "".join(
        f'<th scope="col"{" class=faint" if h.is_paper else ""}>{safe(h.title)}<small>{safe(h.says)}</small></th>'
        for h in grid.headings
    )
    rows = [_row(line, len(grid.headings), out) for line in grid.lines]
    return table(about, f'<th scope="col">Method</th>{heads}', rows, label=grid.title)


def _row(line: Line, columns: int, out: Path) -> str:
    name = f'<th scope="row">{safe(line.name)}</th>'
    if line.reason:
        return f'<tr class="paper">{name}<td class="words" colspan="{columns}">{safe(line.reason)}</td></tr>'
    return f"<tr>{name}{''.join(_cell(entry, out) for entry in line.entries)}</tr>"


def _cell(entry: Entry, out: Path) -> str:
    if not entry.runs:
        return f'<td class="faint">{safe(entry.text)}</td>'
    pages = [run / "index.html" if (run / "index.html").is_file() else run for run in entry.runs]
    first, *others = [safe(os.path.relpath(page, out)) for page in pages]
    more = "".join(f' <a href="{page}" aria-label="run {number}">{number}</a>' for number, page in enumerate(others, 2))
    return f'<td title="{safe(entry.how)}"><a href="{first}">{safe(entry.text)}</a><small>{more}</small></td>'


def _texts(line: Line, columns: int) -> list[str]:
    if line.reason:
        return [line.reason, *[""] * (columns - 1)] if columns else []
    return [entry.text for entry in line.entries]
