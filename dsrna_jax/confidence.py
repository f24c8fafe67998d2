"""Confidence intervals of proportions counted on few examples."""

import math

QUANTILE = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval (low, high) of the proportion `count` / `total`, inside [0, 1] (Wilson 1927).

    Raises: ValueError unless 0 <= count <= total and total > 0.
    """
    if not 0 <= count <= total or not total:
        raise ValueError(f"{count} of {total}: expected a count from 0 to a positive total")
    share, slack = count / total, QUANTILE**2 / total
    middle = (share + slack / 2) / (1 + slack)
    half = QUANTILE / (1 + slack) * math.sqrt(share * (1 - share) / total + slack / (4 * total))
    return middle - half if count else 0.0, middle + half if count < total else 1.0
