"""The finding of a sanity check."""

from typing import NamedTuple

import numpy as np


class Check(NamedTuple):
    """A finding: `status` is "PASS" or "WARN"; `value` is the number that decides it, and `says` explains the number."""

    name: str
    status: str
    value: float | None
    says: str


def check(name: str, is_good: bool, value: float | None, says: str) -> Check:
    """A finding, with the status PASS if it is good; a value that is not finite becomes None."""
    value = float(value) if value is not None and np.isfinite(value) else None
    return Check(name, "PASS" if is_good else "WARN", value, says)
