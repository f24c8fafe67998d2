"""Pages: one HTML file each, which needs no network, for light and dark screens of any width."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template


def safe(text: str) -> str:
    """Text as it may stand in HTML, between tags and in attributes."""
    return html.escape(text)


def document(title: str, body: str, *, reload: int = 0) -> str:
    """A whole page.

    Args:
      title: of the window and the first heading.
      body: HTML below that heading.
      reload: seconds after which the page loads itself again; 0 for never.
    """
    again = f'<meta http-equiv="refresh" content="{reload}">\n' if reload else ""
    return Template(_PAGE).substitute(title=safe(title), body=body, again=again)


def picture(data: bytes, kind: str, caption: str, seen: str = "") -> str:
    """A picture with its caption, which scrolls sideways by itself, also by keyboard, on screens that are too narrow for it.

    Args:
      kind: of the data, such as png or svg+xml.
      seen: the text for those who do not see it; by default the caption.
    """
    encoded = base64.b64encode(data).decode()
    image = f'<img src="data:image/{kind};base64,{encoded}" alt="{safe(seen or caption)}">'
    return f'<figure tabindex="0" aria-label="{safe(caption)}">{image}<figcaption>{safe(caption)}</figcaption></figure>'


def png(file: Path, caption: str, seen: str = "") -> str:
    """The picture in a PNG file."""
    return picture(file.read_bytes(), "png", caption, seen)


def table(caption: str, heads: str, rows: Sequence[str], *, label: str, is_sortable: bool = False) -> str:
    """A table that scrolls sideways by itself, also by keyboard, while its caption and first column stay.

    Args:
      caption: text above the table.
      heads: the headings, as `th` elements.
      rows: `tr` elements.
      label: its name for screen readers.
      is_sortable: whether headings made by `sort_button` sort it; the page then needs `SORTABLE`.
    """
    body, kind = "\n".join(rows), " class=sortable" if is_sortable else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{safe(label)}"><table{kind}>'
        f"<caption><span>{safe(caption)}</span></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def sort_button(text: str) -> str:
    """The heading of a column that sorts the table by it; the page needs `SORTABLE`."""
    return f'<button type="button">{safe(text)}</button>'


SORTABLE = """<script>
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], first = [...body.rows];
  table.tHead.querySelectorAll("th").forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
    const next = {none: "descending", descending: "ascending", ascending: "none"}[head.ariaSort ?? "none"];
    table.tHead.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    if (next === "none") return body.append(...first);
    head.setAttribute("aria-sort", next);
    const value = row => row.cells[index].dataset.value, sign = next === "ascending" ? 1 : -1;
    const by = (a, b) => index === 0 ? sign * a.cells[0].textContent.localeCompare(b.cells[0].textContent)
      : value(a) === undefined || value(b) === undefined ? (value(a) === undefined) - (value(b) === undefined)
      : sign * (value(a) - value(b));
    body.append(...[...first].sort(by));
  }));
}
</script>"""
"""A script by which the headings of tables of the class `sortable` sort them; rows without a figure stay below."""


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$again<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --faint: #666; --link: #00695c; --best: #e0f2f1; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #171717; --line: #3a3a3a; --faint: #a0a0a0; --link: #80cbc4; --best: #20403d; }
}
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: var(--ink); background: var(--paper); }
body { font: 15px/1.5 system-ui, sans-serif; }
a { color: var(--link); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .45rem 0; color: var(--faint); }
caption > span { display: inline-block; position: sticky; left: .7rem; margin-left: .7rem; max-width: min(85vw, 70rem); }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
td { white-space: nowrap; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 9rem; max-width: 40vw; }
thead th { font-weight: 600; }
thead th:not(:first-child) { min-width: 5.5rem; }
th small, small.ends { display: block; color: var(--faint); font-weight: 400; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.paper > *, .faint { color: var(--faint); font-style: italic; }
.best { background: var(--best); font-weight: 600; }
.best small.ends { color: var(--ink); }
.words { text-align: left; white-space: normal; min-width: 16rem; }
td.value { white-space: normal; overflow-wrap: anywhere; min-width: 5rem; max-width: 16rem; }
.mixtures > div { margin: 1rem 0; }
.mixtures td { background: linear-gradient(to right, var(--best) calc(var(--share, 0) * 1%), transparent 0); }
.mixtures td.kept { text-align: left; font-weight: 600; }
.mixtures th:first-child { min-width: 3rem; }
.mixtures thead th:not(:first-child) { min-width: 4rem; max-width: 5.5rem; }
.mixtures thead th:nth-child(2) { text-align: left; min-width: 8rem; }
.slider { display: flex; gap: .7rem; align-items: center; position: sticky; top: 0; background: var(--paper); z-index: 1; }
.slider[hidden] { display: none; }
.slider input { flex: 1; accent-color: var(--link); }
.slider output { min-width: 3ch; font-weight: 600; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--link); }
[aria-sort=ascending] button::after { content: " \\25B2"; }
[aria-sort=descending] button::after { content: " \\25BC"; }
h1, h2, p, li, pre, code { overflow-wrap: anywhere; }
li { margin: .2rem 0; }
pre, code { white-space: pre-wrap; }
figure { margin: 1.5rem 0; padding: .8rem; overflow-x: auto; }
figure { background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figure img { display: block; width: 100%; min-width: 40rem; }
figcaption { color: #333; font-weight: 600; padding-top: .5rem; position: sticky; left: 0; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
"""
