"""The Pareto front of a search with several objectives: the children that no other child beats."""

from collections.abc import Sequence

import numpy as np

LESS_IS_BETTER = ("multiply_adds",)


def front(values: np.ndarray, objectives: Sequence[str]) -> list[int]:
    """Rows of `values` [child, objective] that no other row dominates, sorted by the first objective; of equal rows the first.

    A row dominates another if it is as good in all objectives and better in one; more is better except in `LESS_IS_BETTER`.
    """
    signs = [-1 if name in LESS_IS_BETTER else 1 for name in objectives]
    goods = np.asarray(values, float) * signs

    def is_beaten(row: int) -> bool:
        as_good = (goods >= goods[row]).all(axis=1)
        better = as_good & (goods > goods[row]).any(axis=1)
        earlier = as_good & (np.arange(len(goods)) < row)
        return bool(better.any() or earlier.any())

    return sorted((row for row in range(len(goods)) if not is_beaten(row)), key=lambda row: (-goods[row, 0], row))
