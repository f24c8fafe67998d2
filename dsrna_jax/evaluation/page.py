"""The page of an attack or a certification, index.html in its folder: table, remarks, pictures and settings in one file."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.files import write_whole
from dsrna_jax.pages import document, png, safe, table
from dsrna_jax.runtime.run_page import NAME


def write_page(
    out: Path,
    title: str,
    lines: Sequence[Sequence[str]],
    caption: str,
    remarks: Sequence[str],
    pictures: Mapping[str, str],
    settings: Mapping[str, Any],
) -> None:
    """Writes the page of an evaluation to its folder.

    Args:
      lines: the headings and the rows; the first column names the rows.
      caption: of the table, in words.
      remarks: lines below the table.
      pictures: files in the folder, each with its caption; those that are absent are left out.
      settings: of the evaluation, by name.
    """
    heads = "".join(f'<th scope="col">{safe(text)}</th>' for text in lines[0])
    rows = []
    for name, *cells in lines[1:]:
        rows.append(f'<tr><th scope="row">{safe(name)}</th>{"".join(f"<td>{safe(cell)}</td>" for cell in cells)}</tr>')
    fields = "".join(f"<li>{safe(name)}: <code>{safe(str(value))}</code></li>" for name, value in settings.items())
    parts = [
        f"<p><small>written {time.strftime('%Y-%m-%d %H:%M:%S')}</small></p>",
        table(caption, heads, rows, label="results"),
        f"<ul>{''.join(f'<li>{safe(remark)}</li>' for remark in remarks)}</ul>",
        *(png(out / name, text) for name, text in pictures.items() if (out / name).is_file()),
        f"<h2>Settings</h2>\n<ul>{fields}</ul>",
    ]
    write_whole(out / NAME, document(title, "\n".join(parts)))
