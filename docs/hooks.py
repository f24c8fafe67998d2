"""MkDocs hooks: tables of flags from the configurations, and pages from the notebooks and from the benchmarks."""

import dataclasses
import importlib
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from dsrna_jax.runtime.options import sections

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "experiments" / "notebooks"
BENCHMARKS = ROOT / "experiments" / "benchmarks" / "results.md"
_SETTINGS = re.compile(r"<!-- settings: ([\w.]+)\.(\w+) -->")


def on_files(files, config):
    """Adds the pages that are made from files outside of docs/."""
    from nbconvert import MarkdownExporter

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(path))
        pictures = {name: f"{path.stem}_{name}" for name in resources["outputs"]}
        for name, renamed in pictures.items():
            text = text.replace(f"({name})", f"({renamed})")
            files.append(File.generated(config, f"notebooks/{renamed}", content=resources["outputs"][name]))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
    files.append(File.generated(config, "benchmarks.md", content=BENCHMARKS.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, **_):
    """Replaces `<!-- settings: module.Class -->` by a table of the fields of that configuration."""
    return _SETTINGS.sub(lambda match: settings_table(getattr(importlib.import_module(match[1]), match[2])), markdown)


def on_page_content(html, **_):
    """Marks short flags in the text, which are not to be broken behind their dashes."""
    return re.sub(r"<code>(--[\w=.]{1,30})</code>", r'<code class="flag">\1</code>', html)


def on_post_page(output, page, **_):
    """Raises: PluginError if a page would fetch anything from another host."""
    foreign = re.search(r"""<(?:script|img|iframe|source)[^>]+src(?:set)?=["']?https?:|<link[^>]+href=["']?https?:""", output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} fetches from another host: {foreign[0]}")
    return output


def settings_table(kind: type) -> str:
    """Markdown tables of the flags that are made from the fields of the dataclass `kind`: one for each section of them."""
    by_section, parts = sections(kind), []
    for section, fields in by_section.items():
        if len(by_section) > 1:
            parts.append(f"### {section[0].upper()}{section[1:]}\n")
        parts += ["| flag | default | meaning |", "|---|---|---|", *map(_row, fields), ""]
    return "\n".join(parts)


def _row(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    one_of = f"; one of {', '.join(f'`{choice}`' for choice in choices)}" if choices else ""
    return f"| `--{field.name}` | {_shown(field.default)} | {field.metadata['help']}{one_of} |"


def _shown(value) -> str:
    if isinstance(value, float):
        return f"`{value:.4g}`"
    return f"`{value}`" if value != "" else ""
