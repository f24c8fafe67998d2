"""Searches for the largest radius that holds, on the host, for a batch of examples at a time."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

FIRST_RADIUS = {"linf": 0.05, "l2": 0.5}
"""The radius that searches try first, by norm."""

_FARTHEST = 4096.0  # a step down divides the radius by no more: where bounds explode, more is lost than any power says


def box_diameter(norm: str, image_shape: tuple[int, ...]) -> float:
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


def lost_share(clean: Float[np.ndarray, "*batch"], margin: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """The share of a positive margin that a lower bound of it loses, below 1 where and only where the bound is positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (clean - margin) / clean
    return np.where(margin > 0, np.minimum(share, np.nextafter(1, 0)), share)


def largest_radii(
    lost: Callable[[Float[np.ndarray, " batch"]], Float[np.ndarray, "group batch"]],
    groups: int,
    correct: Bool[np.ndarray, " batch"],
    *,
    start: float,
    limit: float,
    steps: int,
    accuracy: float,
    pause: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, "group batch"]:
    """The largest radius that was tried and that holds, for each group and example; 0 if there is none.

    A radius holds where less than the whole margin is lost. The logarithm of what is lost is nearly linear in that of the radius,
    so that radii follow each other by secants, and each fourth as in `next_radius`, until one that holds and one that does not
    differ by less than `accuracy`, or `steps` radii were tried for the group. Radii tried for one group count for the following
    ones. What is lost need not be monotone in the radius.

    Args:
      lost: maps radii float32 [batch] to shares of the margin, as of `lost_share`: [group, batch]. If they are 0 and infinity
        alone, which say no more than whether a radius holds, its logarithm is bisected.
      groups: number of groups.
      correct: mask of the examples to search for.
      start, limit: the first and the largest radius that is tried.
      accuracy: relative.
      pause: is called between two tries.
    """
    low, high = np.zeros((groups, len(correct))), np.full((groups, len(correct)), np.inf)
    tried, shares = [], []
    for group in range(groups):
        factor = np.full(len(correct), 2.0)
        for step in range(steps):
            settled = ~correct | is_settled(low[group], high[group], limit=limit, accuracy=accuracy)
            if settled.all():
                break
            following, factor = next_radius(low[group], high[group], factor, start=start, limit=limit)
            if tried and step % 4 < 3:
                root = _root(np.stack(tried), np.stack(shares)[:, group])
                following = np.where(np.isfinite(root), _between(root, low[group], high[group], limit, accuracy), following)
            radius = np.where(settled, start, following).astype(np.float32)
            tried.append(radius.astype(float))
            shares.append(np.where(correct, lost(radius), np.inf))
            radii, holds = np.stack(tried)[:, None], np.stack(shares) < 1
            low = np.where(holds, radii, 0).max(0)
            high = np.where(~holds & (radii > low), radii, np.inf).min(0)
            pause()
    return low


def _root(radii: Float[np.ndarray, "tries batch"], shares: Float[np.ndarray, "tries batch"]) -> Float[np.ndarray, " batch"]:
    """The radius that loses the whole margin, by the secant of the two tries nearest to it; NaN if none says how much is lost.

    What is lost grows at least as fast as the radius.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x, y = np.log(radii), np.log(np.where(np.isfinite(shares) & (shares > 0), shares, np.nan))
        nearest = np.argsort(np.abs(y), axis=0)[:2]  # NaN comes last
        (x0, *x1), (y0, *y1) = (np.take_along_axis(values, nearest, 0) for values in (x, y))
        slope = (y1[0] - y0) / (x1[0] - x0) if x1 else np.ones_like(x0)
        return np.exp(x0 - y0 / np.where(np.isfinite(slope), np.clip(slope, 1, 50), 1))


def _between(root, low, high, limit, accuracy):
    """The root, moved so far into the bracket that the next try settles the search if the root is as precise as it asks for."""
    step, has_high = 1 + accuracy / 2, np.isfinite(high)
    above = np.where(low > 0, low * step, np.where(has_high, high / _FARTHEST, 0))
    below = np.where(has_high, high / step, limit)
    middle = np.where(has_high, np.sqrt(low * np.where(has_high, high, 1)), limit)
    return np.where(above < below, np.clip(root, above, below), middle)
