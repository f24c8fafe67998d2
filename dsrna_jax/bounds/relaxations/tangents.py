"""Tangents of a curve that lie below it, or above it, over an interval."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.bisection import crossing
from dsrna_jax.bounds.relaxations.planes import ratio
from dsrna_jax.bounds.rounding import ELEMENTARY, gamma


class Side(NamedTuple):
    """The plane below or above a curve, and where `is_free` the tangents that may take its place.

    slope, gap: of the plane; the gap may still be 0.
    is_free: whether all tangents at points between `first` and `last` are on that side of the curve.
    share: of the way from first to last, where the plane touches.
    """

    slope: jax.Array
    gap: jax.Array
    is_free: jax.Array
    first: jax.Array
    last: jax.Array
    share: jax.Array


def sides(curve, low, high) -> tuple[Side, Side]:
    """The sides of a `Curve` over intervals, below and above, without gaps.

    Over a stretch without an inflection, tangents lie on one side, and the plane on the other is the chord. With one inflection,
    tangents lie on either side: those that touch between an end and the point whose tangent goes through the other end.
    """
    wide, middle, none = high > low, (low + high) / 2, jnp.zeros_like(low)
    chord = jnp.where(wide, ratio(curve.function(high) - curve.function(low), high - low), curve.slope(middle))
    fixed = Side(chord, none, jnp.zeros_like(low, bool), low, high, none)
    at_middle = Side(curve.slope(middle), none, wide, low, high, none + 0.5)
    below = above = fixed
    borders, signs = (-np.inf, *curve.inflections, np.inf), curve.convexity()
    for left, right, sign in zip(borders[:-1], borders[1:], signs, strict=True):
        within = (low >= left) & (high <= right)
        if sign >= 0:
            below = _where(within, at_middle, below)
        if sign <= 0:
            above = _where(within, at_middle, above)
    through_low, through_high = _through_ends(curve, low, high) if curve.inflections else ((), ())
    for i, point in enumerate(curve.inflections):
        within = (low > borders[i]) & (high < borders[i + 2]) & (low < point) & (high > point)
        over, under = (through_low[i], through_high[i]) if signs[i] > 0 else (through_high[i], through_low[i])
        above, below = _where(within, over, above), _where(within, under, below)
    return below, above


def _through_ends(curve, low, high) -> list[list[Side]]:
    """The tangents through the low end by inflection, and those through the high end; chords where none touches."""
    point = np.array(curve.inflections, low.dtype).reshape(-1, *[1] * low.ndim)
    near = jnp.stack([jnp.maximum(low[None], point), jnp.minimum(high[None], point)])
    through, far = (jnp.broadcast_to(jnp.stack(pair)[:, None], near.shape) for pair in ((low, high), (high, low)))

    def miss(x):
        return curve.slope(x) * (x - through) - (curve.function(x) - curve.function(through))

    touch, width = crossing(miss, near, far, otherwise=far)
    gap = touch - through
    slope = jnp.where(gap == 0, curve.slope(through), ratio(curve.function(touch) - curve.function(through), gap))
    side = Side(slope, jnp.zeros_like(slope), width > 0, far, touch, jnp.ones_like(slope))
    return [[Side(*(part[end, i] for part in side)) for i in range(len(point))] for end in range(2)]


def _where(mask, side: Side, otherwise: Side) -> Side:
    return Side(*(jnp.where(mask, a, b) for a, b in zip(side, otherwise, strict=True)))


def finite(curve, side: Side, low, high) -> Side:
    """The side, free only where values and slopes are finite, and no pole lies in the interval."""
    numbers = low, high, curve.function(low), curve.function(high), curve.slope(side.first), curve.slope(side.last)
    is_free = functools.reduce(jnp.logical_and, map(jnp.isfinite, numbers), side.is_free)
    for pole in curve.poles:
        is_free &= (low > pole) | (high < pole)
    return side._replace(is_free=is_free)


def plane(curve, sign: int, value, x, low, high, side: Side, share) -> tuple[jax.Array, jax.Array]:
    """Slope and gap of the tangent that touches at a share of the way from `first` to `last`; of the side's plane if not free.

    Args:
      sign: 1 for a plane below, -1 for one above.
      value: of the curve at the trace point x.
    """
    touch = jnp.where(side.is_free, side.first + share * (side.last - side.first), x)
    slope = curve.slope(touch)
    heights = []
    for point in (touch, low, high):
        there = curve.function(point)
        heights.append(sign * (there - slope * point) - curve.rounding(point, there, slope))
    # The slope as computed is that of a tangent nearby, which is no further from the curve than this.
    missed = lax.stop_gradient(gamma(ELEMENTARY, x.dtype) * jnp.abs(slope) * (high - low))
    least = functools.reduce(jnp.minimum, heights) - missed
    gap = sign * (value - slope * x) - least + curve.rounding(x, value, slope)
    return jnp.where(side.is_free, slope, side.slope), jnp.where(side.is_free, gap, side.gap)
