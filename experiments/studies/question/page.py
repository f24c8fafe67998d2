"""The page of the question: the answer, tables with intervals, paired comparisons, the choice of gamma, the rank study."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from dsrna_jax.pages import document, safe, table
from experiments.studies.question.protocol import GAMMA_0, KINDS, RANDOM, RANK, Protocol
from experiments.studies.question.rank import correlations
from experiments.studies.question.stages import title
from experiments.studies.question.statistics import Compared, answer, chosen_gamma, compared, corrected, kendall

MEASURES = {"attacked": "accuracy under attack [%]", "radius": "certified radius [pixel units]"}
_SHOWN = {"weights": "weights", "clean": "clean accuracy [%]", **MEASURES}
_UNITS = {"clean": 100.0, "attacked": 100.0}

Row = Mapping[str, Any]


class Sheet(NamedTuple):
    """A table: its title, the text above it, its headings and its lines, of which the first column names the others."""

    title: str
    about: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]


def comparisons(protocol: Protocol, rows: Sequence[Row], matches: Mapping[str, Row]) -> list[Compared]:
    """Every search with R against both controls, in each measure and kind of training: pairs of cells, means of their trainings.

    A pair with the same search at γ = 0 has the same seed; a pair with random cells is of as many weights.
    """
    found = []
    for training in protocol.trainings:
        for measure, words in MEASURES.items():
            cells = _cells(rows, training, measure)
            for kind in protocol.kinds:
                ours = {cell: value for (of, cell), value in cells.items() if of == kind}
                twins = {cell: [cells[GAMMA_0, cell]] for cell in ours if (GAMMA_0, cell) in cells}
                of_random: dict[int, list[float]] = {}
                for name, match in matches.items():
                    key = RANDOM, int(name.rsplit("-", 1)[1])
                    of, _, cell = match["to"].rpartition("-")
                    if of == kind and key in cells:
                        of_random.setdefault(int(cell), []).append(cells[key])
                for control, theirs in ((GAMMA_0, twins), (RANDOM, of_random)):
                    pairs = [(ours[cell], float(np.mean(theirs[cell]))) for cell in sorted(ours) if cell in theirs]
                    if one := compared(title(kind), title(control), f"{words}, {training} training", pairs):
                        found.append(one)
    return found


def sheets(
    protocol: Protocol, rows: Sequence[Row], gammas: Sequence[Row], ranks: Sequence[Row], matches: Mapping[str, Row]
) -> list[Sheet]:
    """All tables of the page."""
    found = []
    for training in protocol.trainings:
        lines = []
        for method in protocol.methods:
            each = {name: _cells(rows, training, name) for name in _SHOWN}
            values = {name: [value for (of, _), value in cells.items() if of == method] for name, cells in each.items()}
            lines.append([title(method), str(len(values["clean"])), *(_interval(values[name], name) for name in _SHOWN)])
        about = f"Mean of the cells, each the mean of its trainings, with its 95 % interval. {_how(rows, training)}"
        found.append(Sheet(f"{training.capitalize()} training", about, ["cells of", "cells", *_SHOWN.values()], lines))
    every = comparisons(protocol, rows, matches)
    lines = [
        [f"{one.method} against {one.control}", one.measure, str(one.pairs), f"{one.difference:+.3g}",
         f"{one.low:.3g} to {one.high:.3g}", f"{one.p:.2g}", f"{p:.2g}", f"{one.effect:.2g}"]
        for one, p in zip(every, corrected(every), strict=True)
    ]  # fmt: skip
    about = "Paired t tests over cells; p is corrected for the number of comparisons (Holm); the effect is Cohen's d of pairs."
    heads = ["comparison", "measure", "pairs", "difference", "95 % interval", "p", "corrected p", "effect"]
    found.append(Sheet("Paired comparisons", about, heads, lines))
    found.append(_sweep(protocol, gammas))
    lines = [
        [f"{name} (draw {m['draw']})", f"{m['weights']:,}", m["to"], f"{m['weights_of_it']:,}"] for name, m in matches.items()
    ]
    about = (f"Of {protocol.draws} cells drawn at random, for each searched cell in turn the one with the nearest number of "
             "weights, in the network that is trained, that is not taken yet.")  # fmt: skip
    found.append(Sheet("Random cells", about, ["cell", "weights", "matched to", "its weights"], lines))
    found.append(_sizes(protocol, rows))
    if protocol.rank_cells:
        lines = [[one.score, one.truth, *_taus(one.tau), *_taus(one.at_one_size)] for one in correlations(ranks)]
        about = (f"R of {len(ranks)} random cells, of standard training; intervals by bootstrap over cells. At one size: "
                 "Kendall's partial tau, given the number of weights.")  # fmt: skip
        heads = ["R of", "ranks them as their", "Kendall's tau", "95 % interval", "tau at one size", "95 % interval"]
        found.append(Sheet("Does R rank cells?", about, heads, lines))
    return found


def html(protocol: Protocol, said: str, found: Sequence[Sheet], summary: Sequence[str]) -> str:
    """The page as HTML: the answer, the summary and the tables."""
    parts = [f"<p><strong>{safe(said)}</strong></p>", *(f"<p>{safe(text)}</p>" for text in summary)]
    for sheet in found:
        heads = "".join(f'<th scope="col">{safe(head)}</th>' for head in sheet.heads)
        lines = [f'<tr><th scope="row">{safe(name)}</th>{"".join(f"<td>{safe(cell)}</td>" for cell in cells)}</tr>'
                 for name, *cells in sheet.lines]  # fmt: skip
        parts += [f"<h2>{safe(sheet.title)}</h2>", table(sheet.about, heads, lines, label=sheet.title)]
    return document(f"Does a search with R give more robust cells? Protocol {protocol.name}", "\n".join(parts))


def markdown(said: str, found: Sequence[Sheet]) -> str:
    """The answer and the tables, for the terminal."""
    parts = [said]
    for sheet in found:
        lines = [sheet.heads, ["---"] * len(sheet.heads), *sheet.lines]
        parts.append(f"{sheet.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def answered(protocol: Protocol, rows: Sequence[Row], matches: Mapping[str, Row]) -> str:
    """The answer to the question, as far as the rows go."""
    wanted = sum(protocol.random_cells if name == RANDOM else protocol.search_seeds for name in protocol.methods)
    wanted *= len(protocol.trainings) * protocol.training_seeds
    there = sum(row["method"] in protocol.methods for row in rows)
    so_far = "" if there == wanted else f" ({there} of {wanted} networks are measured.)"
    return answer(comparisons(protocol, rows, matches)) + so_far


def _cells(rows: Sequence[Row], training: str, measure: str) -> dict[tuple[str, int], float]:
    """Means of a measure over the trainings of a cell, by method and cell, in the unit of the page."""
    values: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if row["training"] == training and row["method"] != RANK and row[measure] is not None:
            values.setdefault((row["method"], row["cell"]), []).append(_UNITS.get(measure, 1.0) * row[measure])
    return {key: float(np.mean(each)) for key, each in values.items()}


def _interval(values: Sequence[float], measure: str) -> str:
    if not values:
        return "—"
    show = {"weights": "{:,.0f}", "radius": "{:.3g}"}.get(measure, "{:.2f}").format
    mean = float(np.mean(values))
    if len(values) < 2 or measure == "weights":
        return show(mean)
    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    most = math.inf if measure == "radius" else 100.0
    return f"{show(mean)} ({show(max(mean - half, 0.0))} to {show(min(mean + half, most))})"


def _how(rows: Sequence[Row], training: str) -> str:
    ways = dict.fromkeys((row["attack"], row["bound"]) for row in rows if row["training"] == training)
    return " ".join(f"Attack: {attack}. Certificate: {bound}; misclassified images count as 0." for attack, bound in ways)


def _taus(found: tuple[float, float, float] | None) -> list[str]:
    """A tau and its interval, as cells of a table."""
    if found is None:
        return ["–", "–"]
    tau, low, high = found
    return [f"{tau:.2f}", f"{low:.2f} to {high:.2f}"]


def _sizes(protocol: Protocol, rows: Sequence[Row]) -> Sheet:
    lines = []
    for training in protocol.trainings:
        weights = _cells(rows, training, "weights")
        for measure, words in MEASURES.items():
            # Two methods that find the same cell count once.
            pairs = sorted({(weights[cell], value) for cell, value in _cells(rows, training, measure).items()})
            if len(pairs) > 1:
                tau, low, high = kendall(*zip(*pairs, strict=True))
                lines.append([f"{words}, {training} training", str(len(pairs)), f"{tau:.2f}", f"{low:.2f} to {high:.2f}"])
    about = "Number of weights against each measure, over the cells of all methods; intervals by bootstrap over cells."
    return Sheet("Does size rank cells?", about, ["measure", "cells", "Kendall's tau", "95 % interval"], lines)


def _sweep(protocol: Protocol, gammas: Sequence[Row]) -> Sheet:
    lines = []
    for kind in protocol.kinds:
        by_gamma: dict[float, list[float]] = {}
        for row in gammas:
            if row["kind"] == kind:
                by_gamma.setdefault(row["gamma"], []).append(row["held_out"])
        chosen = chosen_gamma(by_gamma) if any(gamma > 0 for gamma in by_gamma) else None
        lines += [
            [KINDS[kind], f"{gamma:g}", ", ".join(f"{100 * value:.2f}" for value in values), f"{100 * np.mean(values):.2f}",
             "chosen" if gamma == chosen else ""]
            for gamma, values in sorted(by_gamma.items())
        ]  # fmt: skip
    about = (
        "The γ above 0 whose cells, trained adversarially, have the highest mean accuracy under PGD on held-out training images; "
        "no test image and no seed of the experiment itself is used."
    )
    return Sheet("Choice of γ", about, ["search", "γ", "each [%]", "mean [%]", "choice"], lines)
