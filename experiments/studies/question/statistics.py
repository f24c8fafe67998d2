"""Paired comparisons of cells, and the answer that follows from them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05


class Compared(NamedTuple):
    """A method against a control in one measure, over pairs of cells.

    pairs: number of them.
    difference: mean of the method minus the control, in the unit of the measure.
    low, high: 95 % confidence interval of it, by Student's t.
    p: two-sided, of the paired t test.
    effect: Cohen's d of the differences, their mean over their standard deviation.
    """

    method: str
    control: str
    measure: str
    pairs: int
    difference: float
    low: float
    high: float
    p: float
    effect: float


def compared(method: str, control: str, measure: str, pairs: Sequence[tuple[float, float]]) -> Compared | None:
    """The comparison of pairs (of the method, of the control); None for fewer than two, of which no test can be made.

    Differences that are all equal leave no spread to test by, as when few images are attacked: their p is 1, their effect 0.
    """
    if len(pairs) < 2:
        return None
    ours, theirs = np.array(pairs, float).T
    mean, std = float(np.mean(ours - theirs)), float(np.std(ours - theirs, ddof=1))
    if std < 1e-12 * max(1.0, abs(mean)):
        return Compared(method, control, measure, len(pairs), mean, mean, mean, 1.0, 0.0)
    found: Any = stats.ttest_rel(ours, theirs)
    low, high = found.confidence_interval(0.95)
    return Compared(method, control, measure, len(pairs), mean, float(low), float(high), float(found.pvalue), mean / std)


def corrected(comparisons: Sequence[Compared]) -> list[float]:
    """The p values corrected for the number of comparisons by Holm's method (1979), in the order of the comparisons.

    The least of n is multiplied by n, the next by n - 1, and so on; none is less than one before it, nor more than 1.
    """
    p = np.array([one.p for one in comparisons])
    order = np.argsort(p, kind="stable")
    grown = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    return np.minimum(grown, 1.0)[np.argsort(order)].tolist()


def answer(comparisons: Sequence[Compared]) -> str:
    """The plain answer to the question, in the words that the comparisons allow.

    A method is more robust if it beats every control in some measure, at the level of 5 % after correction for all comparisons;
    where a control is not measured yet, nothing follows.
    """
    if not comparisons:
        return "The question has no answer yet: no two pairs of cells are measured."
    verdicts: dict[tuple[str, str], list[tuple[Compared, float]]] = {}
    for one, p in zip(comparisons, corrected(comparisons), strict=True):
        verdicts.setdefault((one.method, one.measure), []).append((one, p))
    controls = {one.control for one in comparisons}
    verdicts = {key: of for key, of in verdicts.items() if {one.control for one, _ in of} == controls}
    better = {key: of for key, of in verdicts.items() if all(p < LEVEL and one.difference > 0 for one, p in of)}
    worse = {key: of for key, of in verdicts.items() if all(p < LEVEL and one.difference < 0 for one, p in of)}
    said = [f"Yes: cells of {method} have more {measure} than {_listed(of)}." for (method, measure), of in better.items()]
    said += [
        f"The contrary: cells of {method} have less {measure} than {_listed(of)}." for (method, measure), of in worse.items()
    ]
    if said:
        return " ".join(said)
    largest = max(comparisons, key=lambda one: abs(one.effect))
    return (
        "No: at this size, cells of a search with R are not shown to be more robust. In no measure do they differ from all "
        f"controls in one direction at 5 % after correction for {len(comparisons)} comparisons; the largest effect is that of "
        f"{largest.method} against {largest.control} in {largest.measure}: {_difference(largest)}, p {largest.p:.2g} uncorrected."
    )


def _listed(of: Sequence[tuple[Compared, float]]) -> str:
    return " and than ".join(f"{one.control} ({_difference(one)}, corrected p {p:.2g})" for one, p in of)


def _difference(one: Compared) -> str:
    return f"{one.difference:+.3g}, 95 % interval {one.low:.3g} to {one.high:.3g}, {one.pairs} pairs"


def chosen_gamma(held_out: Mapping[float, Sequence[float]]) -> float:
    """The rule for gamma: the one above 0 with the highest mean accuracy under attack on held-out images; ties to the smaller.

    Args:
      held_out: by gamma, the accuracies of the trainings of its cells.
    Raises: ValueError if there is none above 0 whose accuracies are all known, none of them NaN.
    """
    means = {gamma: float(np.mean(accuracies)) for gamma, accuracies in held_out.items() if gamma > 0}
    known = {gamma: mean for gamma, mean in means.items() if not math.isnan(mean)}
    if not known:
        raise ValueError(f"expected a gamma above 0 with accuracies that are not NaN; got {dict(held_out)}")
    return max(known, key=lambda gamma: (known[gamma], -gamma))


def kendall(
    scores: Sequence[float], truth: Sequence[float], given: Sequence[float] | None = None, *, resamples: int = 2000
) -> tuple[float, float, float]:
    """Kendall's tau-b with the ends of its 95 % bootstrap interval, by a fixed seed.

    All are NaN where a column has NaN or does not vary. Raises: ValueError if columns are not of one length.

    given: a third variable whose share in both orders is taken out, for Kendall's partial tau (Kendall 1942, Biometrika 32).
    """
    columns = [np.asarray(column, float) for column in (scores, truth, given) if column is not None]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"expected columns of one length; got {', '.join(str(len(column)) for column in columns)}")
    tau = _tau(*columns)
    draws = np.random.default_rng(0).integers(len(columns[0]), size=(resamples, len(columns[0])))
    drawn = [_tau(*(column[draw] for column in columns)) for draw in draws]
    drawn = [one for one in drawn if np.isfinite(one)]
    if math.isnan(tau) or not drawn:
        return math.nan, math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return tau, float(low), float(high)


def _tau(x: Any, y: Any, given: Any = None) -> float:
    """Tau-b, by the signs of all differences: a dozen times as fast as SciPy's, which tests significance too."""
    if given is not None:
        of_both, of_x, of_y = _tau(x, y), _tau(x, given), _tau(y, given)
        left = (1 - of_x**2) * (1 - of_y**2)
        return (of_both - of_x * of_y) / math.sqrt(left) if left > 1e-9 else math.nan
    signs = [np.sign(each[:, None] - each[None]) for each in (x, y)]
    untied = math.prod(float(np.abs(sign).sum()) for sign in signs)
    return float((signs[0] * signs[1]).sum()) / math.sqrt(untied) if untied else math.nan
