"""The page of a run, index.html in its folder: state, next commands, pictures, epochs and configuration in one file."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax import genotypes
from dsrna_jax.pages import SORTABLE, document, png, safe, sort_button, table
from dsrna_jax.runtime.origin import described

NAME = "index.html"
RELOAD = 15  # seconds after which the page of a run that goes on loads itself again
_PICTURES = {
    "curves.png": "Curves over the epochs",
    "cells.png": "Cells",
    "alphas.png": "Mixtures of the edges over the epochs",
    "rewards.png": "Rewards of the children",
    "front.png": "Children that no other beats",
}
_KINDS = {
    "alphas.png": "A panel for each edge, with a line over the epochs for each operation; the tables below have the figures",
    "rewards.png": "A mark for each child in the order of their draws, at the height of its reward; children.jsonl has them",
    "front.png": "A mark for each child, with a line through those of the front; front.json has their figures",
}


def run_page(
    folder: Path,
    resolved: Mapping[str, Any],
    defaults: Any,
    rows: Sequence[Mapping[str, Any]],
    state: str,
    next_commands: Sequence[str],
    is_running: bool,
    own: str = "",
) -> str:
    """The page as HTML; it shows the pictures that are in the folder.

    Args:
      resolved: the content of config.json, and the `origin` of this process.
      defaults: a configuration, to tell which fields were chosen; their help is shown.
      rows: those of metrics.jsonl.
      state: of the run, in words.
      is_running: then the page loads itself again every `RELOAD` seconds.
      own: HTML that a kind of run adds below the pictures.
    """
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    parts = [f'<p role="status"><strong>{safe(state)}</strong> <small>(written {written})</small></p>']
    if next_commands:
        commands = "\n".join(map(safe, next_commands))
        parts.append(f"<h2>Next</h2>\n<pre><code>{commands}</code></pre>")
    parts += [_picture(folder / name, caption, rows) for name, caption in _PICTURES.items() if (folder / name).is_file()]
    parts.append(own)
    if rows:
        parts.append(f"<h2>Epochs</h2>\n{_epochs(rows)}")
    parts.append(f"<h2>Configuration</h2>\n{_origin(resolved)}\n{_configuration(resolved['config'], defaults)}\n{SORTABLE}")
    return document(f"{resolved['experiment']} {folder.absolute().name}", "\n".join(parts), reload=RELOAD if is_running else 0)


def _picture(file: Path, caption: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return png(file, caption, ". ".join(filter(None, (caption, _seen(file, rows)))))


def _seen(file: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """The text for those who do not see a picture: the last figures of curves, the operations and edges of cells."""
    if file.name == "curves.png" and rows:
        figures = {name.replace("_", " "): value for name, value in rows[-1].items() if name != "step" and value is not None}
        return f"After the last epoch: {', '.join(f'{name} {_text(value)}' for name, value in figures.items())}"
    if file.name == "cells.png" and (saved := file.with_name("genotype.json")).is_file():
        return str(genotypes.load(saved))
    return _KINDS.get(file.name, "")


def _epochs(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of metrics.jsonl as a table, the newest first; columns without any number are left out."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "step"]
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    heads = "".join(f'<th scope="col">{sort_button(name.replace("_", " "))}</th>' for name in names)
    lines = []
    for row in reversed(rows):
        cells = [_cell(row.get(name)) for name in names[1:]]
        lines.append(f'<tr><th scope="row">{safe(_text(row.get(names[0])))}</th>{"".join(cells)}</tr>')
    about = "A row for each epoch, the newest first; accuracies are shares of 1. A heading sorts by its column."
    return table(about, heads, lines, label="epochs", is_sortable=True)


def _cell(value: Any) -> str:
    number = f' data-value="{value!r}"' if isinstance(value, int | float) else ""
    return f"<td{number}>{safe(_text(value))}</td>"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _origin(resolved: Mapping[str, Any]) -> str:
    """Version, commit, command line and machine, as far as they are recorded."""
    facts, data = described(resolved.get("origin", {}), resolved.get("machine", {})), resolved["data"]
    shape = "x".join(map(str, data["image_shape"]))
    facts["data"] = f"{data['examples']:,} training images of {shape}, {len(data['class_names'])} classes"
    return f"<ul>{''.join(f'<li>{name}: <code>{safe(text)}</code></li>' for name, text in facts.items())}</ul>"


def _configuration(config: Mapping[str, Any], defaults: Any) -> str:
    """The fields with their help; those that differ from the defaults are marked, with the default beside them."""
    lines = []
    for field in dataclasses.fields(defaults):
        value, default = config.get(field.name), getattr(defaults, field.name)
        changed = value != default
        note = f"{field.metadata['help']}{f' (default {default!r})' if changed else ''}"
        mark = "value best" if changed else "value"
        cells = f'<td class="{mark}">{safe(_text(value))}</td><td class="words">{safe(note)}</td>'
        lines.append(f'<tr><th scope="row">{field.name}</th>{cells}</tr>')
    heads = '<th scope="col">field</th><th scope="col">value</th><th scope="col" class="words">meaning</th>'
    return table("All fields; those that differ from the default are marked.", heads, lines, label="configuration")
