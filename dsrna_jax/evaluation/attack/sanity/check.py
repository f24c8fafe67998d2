"""The result of a sanity check."""

from typing import NamedTuple

import numpy as np


class Check(NamedTuple):
    """The result of a sanity check: `status` is "PASS" or "WARN", by `value`; `says` is a sentence with that number."""

    name: str
    status: str
    value: float | None
    says: str


def check(name: str, is_good: bool, value: float | None, says: str) -> Check:
    """A `Check` with the status PASS if `is_good`; a value that is not finite becomes None."""
    value = float(value) if value is not None and np.isfinite(value) else None
    return Check(name, "PASS" if is_good else "WARN", value, says)
