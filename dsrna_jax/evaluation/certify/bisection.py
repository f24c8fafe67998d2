"""Bisection of radii on the host, for a batch of examples at a time."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

FIRST_RADIUS = {"linf": 0.05, "l2": 0.5}
"""The radius that searches try first, by norm."""


def largest_radius(norm: str, image_shape: tuple[int, ...]) -> float:
    """The distance between opposite corners of the box of images, which limits searches."""
    return 1.0 if norm == "linf" else float(np.sqrt(np.prod(image_shape)))


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

    From `start` the radius goes up or down by growing factors (2, 4, 16 ...) until one radius holds and one does not; then its
    logarithm is bisected, until these two differ by less than `accuracy`, or `steps` radii were tried for the group. Radii tried
    for one group count for the following ones. `holds` need not be monotone in the radius.

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
            below, above = low[group], high[group]
            has_low, has_high = below > 0, np.isfinite(above)
            is_settled = ~correct | (below >= limit) | has_high & (above <= below * (1 + accuracy))
            if is_settled.all():
                break
            above = np.where(has_high, above, 1)
            ahead, between = [has_low & has_high, has_low, has_high], [np.sqrt(below * above), below * factor, above / factor]
            factor = np.where(has_low ^ has_high, np.minimum(factor**2, 2.0**16), factor)
            radius = np.where(is_settled, start, np.minimum(np.select(ahead, between, start), limit)).astype(np.float32)
            tried.append(radius.astype(float))
            held.append(holds(radius) & correct)
            radii, held_so_far = np.stack(tried)[:, None], np.stack(held)
            low = np.where(held_so_far, radii, 0).max(0)
            high = np.where(~held_so_far & (radii > low), radii, np.inf).min(0)
            pause()
    return low
