"""Bisection of radii on the host, for a batch of examples at a time."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

FIRST_RADIUS = {"linf": 0.05, "l2": 0.5}
"""The radius that searches try first, by norm."""


def largest_radius(norm: str, image_shape: tuple[int, ...]) -> float:
    """The distance between opposite corners of the box of images, which limits searches."""
    return 1.0 if norm == "linf" else float(np.sqrt(np.prod(image_shape)))


def is_settled(low, high, *, limit: float, accuracy: float) -> Bool[np.ndarray, "*batch"]:
    """Whether searches end between a radius that holds, 0 for none, and one that does not, infinite for none."""
    return np.asarray((low >= limit) | (high <= low * (1 + accuracy)))


def next_radius(
    low, high, factor, *, start: float, limit: float
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """The radius to try next, and the factor after it.

    From `start` the radius goes up or down by growing factors (2, 4, 16 ...) until one radius holds and one does not; then its
    logarithm is bisected.

    Args:
      low, high: as in `is_settled`.
      factor: 2 at first.
    """
    has_low, has_high = np.asarray(low) > 0, np.isfinite(high)
    known = np.where(has_high, high, 1)
    radius = np.select(
        [has_low & has_high, has_low, has_high], [np.sqrt(low * known), low * factor, known / factor], default=start
    )
    return np.asarray(np.minimum(radius, limit)), np.where(has_low ^ has_high, np.minimum(factor**2, 2.0**16), factor)


def bisected(
    holds: Callable[[Float[np.ndarray, " batch"]], Bool[np.ndarray, "group batch"]],
    groups: int,
    correct: Bool[np.ndarray, " batch"],
    *,
    start: float,
    limit: float,
    steps: int,
    accuracy: float,
    pause: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, "group batch"]:
    """The largest radius that was tried and at which `holds` is true, for each group and example; 0 if there is none.

    Radii follow each other as in `next_radius`, until one that holds and one that does not differ by less than `accuracy`, or
    `steps` radii were tried for the group. Radii tried for one group count for the following ones. `holds` need not be monotone
    in the radius.

    Args:
      holds: maps radii float32 [batch] to bool [group, batch].
      groups: number of groups.
      correct: mask of the examples to search for.
      start, limit: the first and the largest radius that is tried.
      accuracy: relative.
      pause: is called between two tries.
    """
    low, high = np.zeros((groups, len(correct))), np.full((groups, len(correct)), np.inf)
    tried, held = [], []
    for group in range(groups):
        factor = np.full(len(correct), 2.0)
        for _ in range(steps):
            settled = ~correct | is_settled(low[group], high[group], limit=limit, accuracy=accuracy)
            if settled.all():
                break
            following, factor = next_radius(low[group], high[group], factor, start=start, limit=limit)
            radius = np.where(settled, start, following).astype(np.float32)
            tried.append(radius.astype(float))
            held.append(holds(radius) & correct)
            radii, held_so_far = np.stack(tried)[:, None], np.stack(held)
            low = np.where(held_so_far, radii, 0).max(0)
            high = np.where(~held_so_far & (radii > low), radii, np.inf).min(0)
            pause()
    return low
