"""Parts of a split or of a data set, in the notation of tfds: `train[:10%]`, `mnist[100:200]`, `digits[-20%:]`."""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from dsrna_jax.data.splits import interleaved_classes
from dsrna_jax.errors import InputError

_NUMBER = r"(-?\d+)(%?)"
_PART = re.compile(rf"(?P<whole>.+)\[(?:{_NUMBER})?:(?:{_NUMBER})?\]")


class SplitPart(NamedTuple):
    """A range of examples: its text, and its ends as (number, is it in per cent), None for that end of the split."""

    text: str
    start: tuple[int, bool] | None
    stop: tuple[int, bool] | None

    def range(self, count: int) -> tuple[int, int]:
        """(start, stop) among `count` examples; per cent are rounded to whole examples, as in tfds.

        Raises: InputError unless the part holds an example and lies within.
        """
        start = 0 if self.start is None else _position(*self.start, count)
        stop = count if self.stop is None else _position(*self.stop, count)
        if not 0 <= start < stop <= count:
            raise InputError(f"the part {self.text} of {count} images is empty or out of range: give another part")
        return start, stop


def parsed(expression: str) -> tuple[str, SplitPart | None]:
    """The name and the part in an expression such as `mnist[:10%]`; the expression and None if it has no part."""
    if (match := _PART.fullmatch(expression)) is None:
        return expression, None
    whole, *numbers = match.groups()
    start, stop = (None if number is None else (int(number), sign == "%") for number, sign in (numbers[:2], numbers[2:]))
    return whole, SplitPart(expression[len(whole) :], start, stop)


def chosen(labels: Int[np.ndarray, " examples"], part: SplitPart | None, examples: int = 0) -> Int32[np.ndarray, " chosen"]:
    """Ascending indices of a part of a set that is sorted by class, at most `examples` of them (0 for no limit).

    Every class has its share of the part, to within one example.
    """
    start, stop = (0, len(labels)) if part is None else part.range(len(labels))
    return np.sort(interleaved_classes(labels)[start : min(stop, start + examples) if examples else stop])


def _position(number: int, is_percent: bool, count: int) -> int:
    position = round(number * count / 100) if is_percent else number
    return position + count if number < 0 else position
