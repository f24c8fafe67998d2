"""A comparison as LaTeX, for the package booktabs."""

from dsrna_jax.comparison.table import Comparison
from dsrna_jax.comparison.text import row_texts

_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%_#${}"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
    | {"|": r"\textbar{}", "±": r"$\pm$", "—": "---", "–": "--", "×": r"$\times$"}
)


def escaped(text: str) -> str:
    """The text as LaTeX shows it, without its commands."""
    return text.translate(_ESCAPES)


def latex(comparison: Comparison) -> str:
    """A tabular for each data set and kind of training.

    The best measured figure of a column is bold, names of the paper's rows are slanted. Settings of a column are in a second line
    of its heading, notes are remarks.
    """
    parts = []
    for name, table in comparison.facets:
        titles = ["Architecture", *(escaped(title) for title, _ in table.headings)]
        settings = ["", *(rf"{{\scriptsize {escaped(text)}}}" if text else "" for _, text in table.headings)]
        lines = []
        for row in table.rows:
            texts = [escaped(text) for text in row_texts(row, table.columns)]
            if row.runs:
                values = [row.cells[column].value if column in row.cells else None for column in table.columns]
                best = [value is not None and value == table.best(c) for value, c in zip(values, table.columns, strict=True)]
                texts = [rf"\textbf{{{text}}}" if is_best else text for text, is_best in zip(texts, best, strict=True)]
            label = escaped(row.name) if row.runs else rf"\textit{{{escaped(row.name)}}}"
            lines.append([label, *texts])
        body = [" & ".join(line) + r" \\" for line in lines]
        heads = [" & ".join(line) + r" \\" for line in (titles, settings)]
        parts.append("\n".join([
            f"% {name}", rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule", *heads, r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}",
        ]))  # fmt: skip
    notes = "\n".join(f"% {' '.join(note.split())}" for note in comparison.notes)
    return "\n\n".join([*parts, notes]) + "\n"
