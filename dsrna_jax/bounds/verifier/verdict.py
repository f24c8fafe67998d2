"""The answer of the verifier."""

import dataclasses
from typing import NamedTuple

import numpy as np

OVER = "the time was over"  # the reason of a search that has ended by its time
INDIVISIBLE = "a sub-box is as small as its numbers allow"
AT_A_POINT = "the allowance for rounding hides whether the property holds at the input nearest to a counterexample"
ENDED_BY_ROUNDING = INDIVISIBLE, AT_A_POINT  # of searches that numbers of more digits may end otherwise


def over(undecided: int, boxes: int) -> str:
    """`OVER`, with the number of boxes that are not decided where there are several."""
    return OVER if boxes == 1 else f"{OVER} before {undecided} of {boxes} boxes were decided"


class Outcome(NamedTuple):
    """The result of one search: that of a `Verdict`, with a counterexample that is not checked yet, and the number of its box."""

    status: str
    counterexample: np.ndarray | None
    reason: str
    branches: int
    box: int = 0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer of `bounds.verify`.

    status: "verified": the property holds at every input of the region; "counterexample": it does not at `counterexample`;
      "unknown": neither was found, for the `reason`.
    counterexample: an input of the region at which the property fails, as f is evaluated in float64, or in its own type if it
      takes no other.
    reason: how the answer was found, or why none was.
    seconds: time taken, compiling included.
    branches: number of sub-problems that were bounded.
    """

    status: str
    counterexample: np.ndarray | None
    reason: str
    seconds: float
    branches: int
