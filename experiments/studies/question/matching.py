"""Random cells of as many weights as searched ones: the control that a search must beat."""

from collections.abc import Mapping
from typing import NamedTuple


class Match(NamedTuple):
    """A random cell: the seed of its draw, its number of weights, and the searched cell it is matched to, with its weights."""

    draw: int
    weights: int
    to: str
    weights_of_it: int


def matched(drawn: Mapping[int, int], targets: Mapping[str, int], count: int) -> list[Match]:
    """`count` of the drawn cells, for the targets in turn the one with the nearest number of weights that is not taken yet.

    Ties go to the earlier draw.

    Args:
      drawn: number of weights by seed of the draw.
      targets: number of weights by name of the searched cell.
    Raises: ValueError if fewer cells are drawn than are asked for.
    """
    if count > len(drawn):
        raise ValueError(f"{len(drawn)} draws, of which {count} are to be taken: draw more")
    found, free = [], dict(drawn)
    for index in range(count):
        name = list(targets)[index % len(targets)]
        draw = min(free, key=lambda seed: (abs(free[seed] - targets[name]), seed))
        found.append(Match(draw, free.pop(draw), name, targets[name]))
    return found
