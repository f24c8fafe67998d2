"""Exact minima of piecewise linear networks over boxes, by integer programs (Tjeng et al. 2019, arXiv:1711.07356)."""

from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp


class Program:
    """A network under construction. Values are affine functions [entry, 1 + variable] of the variables, the constant first."""

    def __init__(self, lower, upper):
        self.low, self.high, self.is_whole = list(np.ravel(lower)), list(np.ravel(upper)), [False] * np.size(lower)
        self.limits: list[tuple[np.ndarray, float]] = []  # row @ variables <= limit
        self.inputs = np.eye(1 + np.size(lower))[1:]

    def affine(self, matrix, offset, values):
        """matrix @ values + offset."""
        result = matrix @ values
        result[:, 0] += offset
        return result

    def largest(self, groups, floor=None):
        """The largest value of each group, a list of arrays [entry, 1 + variable], and of the number `floor`."""
        return _stacked([self._largest(list(group) + ([] if floor is None else [np.array([floor])])) for group in groups])

    def relu(self, values):
        return self.largest([[value] for value in values], 0.0)

    def least(self, value) -> float:
        """The least value of an entry [1 + variable]."""
        count = len(self.low)
        rows = np.array([np.pad(row, (0, count - len(row))) for row, _ in self.limits])
        limits: Any = np.array([limit for _, limit in self.limits])
        low, high = (np.array(side) for side in (self.low, self.high))
        box: Any = Bounds(low, high)  # pyright: ignore[reportArgumentType]
        found = milp(
            np.pad(value[1:], (0, count + 1 - len(value))), constraints=LinearConstraint(rows, ub=limits) if self.limits else (),
            bounds=box, integrality=self.is_whole, options={"mip_rel_gap": 0.0},
        )  # fmt: skip
        assert found.status == 0, found.message
        return found.fun + value[0]

    def _variable(self, low, high, is_whole=False):
        self.low.append(low)
        self.high.append(high)
        self.is_whole.append(is_whole)
        return np.eye(1 + len(self.low))[-1]

    def _range(self, value):
        ends = value[1:] * np.array(self.low[: len(value) - 1]), value[1:] * np.array(self.high[: len(value) - 1])
        return value[0] + np.minimum(*ends).sum(), value[0] + np.maximum(*ends).sum()

    def _largest(self, values):
        """y >= v for all values, and y <= v for the one that is chosen."""
        ranges = [self._range(value) for value in values]
        top = max(high for _, high in ranges)
        y = self._variable(max(low for low, _ in ranges), top)
        chosen = [self._variable(0.0, 1.0, is_whole=True) for _ in values]
        for value, (low, _), choice in zip(values, ranges, chosen, strict=True):
            self._limit(_sum(value, -y), 0.0)
            self._limit(_sum(y, -value, (top - low) * choice), top - low)
        self._limit(-_sum(*chosen), -1.0)
        return y

    def _limit(self, value, limit):
        self.limits.append((value[1:], limit - value[0]))


def _sum(*values):
    return _stacked(values).sum(0)


def _stacked(values):
    width = max(map(len, values))
    return np.stack([np.pad(value, (0, width - len(value))) for value in values])
