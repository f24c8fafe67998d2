"""The columns of a comparison: measures of a run, each with the settings and the budget it was measured with."""

from typing import Any, NamedTuple

from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.certify.config import SMOOTHING

MULTIPLY_ADDS, SMOOTHED = "Mult-adds (M)", "l2 radius of the smoothed network"
RADIUS_TITLES = (LINF, L2, SMOOTHED)
_TITLES = {"C&W-l2": CW, **{f"PGD-{n}": f"PGD ({n})" for n in (10, 20, 100)}}


class Column(NamedTuple):
    """A measure. title: as in the paper's tables, where they have it. settings, budget: what it was measured with."""

    title: str
    settings: str = ""
    budget: str = ""


def run_measures(run: FinishedTraining) -> dict[Column, float]:
    """All measures of a run, in the units of the paper's tables: accuracies in per cent, sizes in millions, cost in days."""
    measures = {Column(PARAMS): run.weights / 1e6, Column(MULTIPLY_ADDS): run.multiply_adds / 1e6}
    if run.search:
        measures[Column(COST)] = run.search[1] / 86400
    clean = sorted((*run.attacks, *run.certificates), key=lambda result: -result["examples"])
    for result in reversed(clean):  # the one on most images last, so that it counts
        measures[Column(CLEAN, _split(result))] = 100 * result["clean"]["accuracy"]
    for result in reversed(run.attacks):
        for row in result["rows"]:
            measures[_attack_column(row, result)] = 100 * row["accuracy"]
    for result in reversed(run.certificates):
        if result["radius"]["mean"] is not None:
            measures[radius_column(result)] = result["radius"]["mean"]
    return measures


def _split(result: dict[str, Any]) -> str:
    split = result["config"].get("split", "test")
    return "" if split == "test" else f"{split} images"


def _attack_column(row: dict[str, Any], result: dict[str, Any]) -> Column:
    name: str = row["name"]
    title = FGSM if name.startswith("FGSM") else _TITLES.get(name, name)
    # The same attack with another budget is another measure.
    return Column(title, _joined(f"{row['norm']} {pixels(row['radius'], row['norm'])}", _split(result)), row["budget"])


def radius_column(result: dict[str, Any]) -> Column:
    """The column of the certified radii in a certify.json."""
    config, method = result["config"], result["method"]
    if method == SMOOTHING:
        budget = f"n0 {config['n0']}, n {config['n']}, alpha {config['alpha']:g}"
        return Column(SMOOTHED, _joined(f"smoothing, sigma {config['sigma']:g}", _split(result)), budget)
    budget = "perturbed pixels stay in [0, 1]" if config["clip"] else "perturbed pixels may leave [0, 1]"
    return Column({"linf": LINF, "l2": L2}[result["norm"]], _joined(method, _split(result)), budget)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def ordered(columns: set[Column]) -> list[Column]:
    """Columns in the order of the paper; attacks that it lacks follow those that it has."""
    first, last = [CLEAN, "PGD (10)", "PGD (20)", "PGD (100)", FGSM, CW], [LINF, L2, SMOOTHED, PARAMS, MULTIPLY_ADDS, COST]
    titles = [*first, *sorted({column.title for column in columns} - {*first, *last}), *last]
    return sorted(columns, key=lambda column: (titles.index(column.title), *column))
