"""The page of an evaluation, index.html in its folder: table, remarks, pictures, settings and origin in one file."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.files import write_whole
from dsrna_jax.pages import document, png, safe, table
from dsrna_jax.runtime.origin import described
from dsrna_jax.runtime.run_page import NAME

_LONG = 24  # characters beyond which the cells of a column are words, which wrap


def write_page(
    out: Path,
    what: str,
    report: Mapping[str, Any],
    lines: Sequence[Sequence[str]],
    caption: str,
    remarks: Sequence[str],
    pictures: Mapping[str, tuple[str, str]],
) -> None:
    """Writes the page of an evaluation to its folder.

    Args:
      what: of the network, such as "attack on".
      report: the JSON of the evaluation.
      lines: the headings and the rows; the first column names the rows.
      caption: of the table, in words.
      remarks: lines below the table.
      pictures: files in the folder, each with its caption and the text for those who do not see it; absent ones are left out.
    """
    training = Path(report["checkpoint"]["path"]).resolve()
    longest = [max(map(len, column)) for column in zip(*lines, strict=True)]
    kinds = ["", *(" class=words" if length > _LONG else "" for length in longest[1:])]
    heads = "".join(f'<th scope="col"{kind}>{safe(text)}</th>' for kind, text in zip(kinds, lines[0], strict=True))
    rows = []
    for name, *cells in lines[1:]:
        texts = "".join(f"<td{kind}>{safe(cell)}</td>" for kind, cell in zip(kinds[1:], cells, strict=True))
        rows.append(f'<tr><th scope="row">{safe(name)}</th>{texts}</tr>')
    settings = report["config"] | {"weights": report.get("weights", "")}
    facts = {name: value for name, value in settings.items() if value != ""} | described(report["origin"], report["machine"])
    fields = "".join(f"<li>{safe(name)}: <code>{safe(str(value))}</code></li>" for name, value in facts.items())
    page = os.path.relpath(training / NAME, out.resolve())
    above = f'<a href="{safe(page)}">its training</a>, ' if (training / NAME).is_file() else ""
    parts = [
        f"<p><small>{above}written {time.strftime('%Y-%m-%d %H:%M:%S')}</small></p>",
        table(caption, heads, rows, label="results"),
        f"<ul>{''.join(f'<li>{safe(remark)}</li>' for remark in remarks)}</ul>",
        *(png(out / name, *texts) for name, texts in pictures.items() if (out / name).is_file()),
        f"<h2>Settings</h2>\n<ul>{fields}</ul>",
    ]
    write_whole(out / NAME, document(f"{what} {training.name}", "\n".join(parts)))
