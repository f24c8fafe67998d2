"""Confidence intervals of the figures of a comparison."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from dsrna_jax.comparison.columns import NOT_ACCURACIES, RADIUS_TITLES, Column, radius_column
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.confidence import wilson


class ConfidenceInterval(NamedTuple):
    """The ends of a 95 % confidence interval, in the unit of its figure."""

    low: float
    high: float


def interval(row: ComparisonRow, column: Column) -> ConfidenceInterval | None:
    """The 95 % interval of a figure; None of figures of the paper, of sizes and costs, and where images were not counted.

    Of several trainings or searches: that of their mean, by Student's t. Of one training, or the one search of several that was
    measured: over its images, Wilson's of an accuracy, by Student's t of a mean radius; it says nothing of what another seed
    would give.
    """
    cell = row.cells.get(column)
    if cell is None or not row.runs or (column.title in NOT_ACCURACIES and column.title not in RADIUS_TITLES):
        return None
    most = math.inf if column.title in RADIUS_TITLES else 100.0
    if cell.count > 1 and cell.std is not None:
        return _mean_interval(cell.value, cell.std, cell.count, most)
    if column.title in RADIUS_TITLES:
        parts = _radii_of_trainings(row, column)
        if len({len(part) for part in parts}) != 1:
            return None
        values = np.mean(parts, axis=0)  # each image counts once, however many trainings of the search certify it
        if len(values) < 2 or not np.isfinite(values).all():
            return None
        return _mean_interval(float(np.mean(values)), float(np.std(values, ddof=1)), len(values), most)
    if column.images is None or not (total := column.images.count):
        return None
    low, high = wilson(min(total, max(0, round(cell.value / 100 * total))), total)
    return ConfidenceInterval(100 * low, 100 * high)


def radii(row: ComparisonRow, column: Column) -> np.ndarray | None:
    """The certified radii [image] of all trainings of a row, one after the other; None without any."""
    parts = _radii_of_trainings(row, column)
    return np.concatenate(parts) if parts else None


def _radii_of_trainings(row: ComparisonRow, column: Column) -> list[np.ndarray]:
    """The certified radii [image] of each training, of the certification whose mean the table has."""
    parts = []
    for run in row.runs:
        pairs = zip(run.certificates, run.radii, strict=True)
        arrays = next((arrays for result, arrays in pairs if radius_column(result, run) == column), {})
        parts += [arrays["minimum"]] if arrays else []
    return parts


def _mean_interval(mean: float, std: float, count: int, most: float) -> ConfidenceInterval:
    half = float(stdtrit(count - 1, 0.975)) * std / math.sqrt(count)
    return ConfidenceInterval(max(mean - half, 0.0), min(mean + half, most))
