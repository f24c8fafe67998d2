"""Choices between bounded values: of two by a comparison of bounded ones, and of many by a place."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import outward_sum
from dsrna_jax.kernels.reductions import larger, max_over, min_over, smaller


@dataclasses.dataclass(frozen=True)
class Choice:
    """`select_n` by the sign of a bounded difference; the parents are (difference, value if false, value if true).

    The chosen value where the comparison is decided, else the hull of both values.
    """

    roundings: ClassVar[int] = 0
    takes_unknown: ClassVar[bool] = True

    compare: str

    def decided(self, node, interval):
        """Masks of where the comparison is certainly true, and certainly false."""
        value = node.parents[0].value
        low, high = value + interval.lower, value + interval.upper
        if self.compare in ("known", "unknown"):
            known, never = ~jnp.isnan(low + high), jnp.zeros(value.shape, bool)
            return (known, never) if self.compare == "known" else (never, known)
        if self.compare in ("eq", "ne"):
            is_zero, is_other = (low == 0) & (high == 0), (low > 0) | (high < 0)
            return (is_zero, is_other) if self.compare == "eq" else (is_other, is_zero)
        return {
            "signbit": (high < 0, low > 0),
            "no signbit": (low > 0, high < 0),
            "gt": (low > 0, high <= 0),
            "ge": (low >= 0, high < 0),
            "lt": (high < 0, low >= 0),
            "le": (high <= 0, low > 0),
        }[self.compare]

    def sides(self, node, intervals):
        """(lower, upper) of the value if false and of the value if true, as deviations of the node."""
        values = (p.value - node.value for p in node.parents[1:])
        return [
            tuple(outward_sum(value, side, direction) for side, direction in zip(interval, (-1, 1), strict=True))
            for value, interval in zip(values, intervals[1:], strict=True)
        ]

    def enclosure(self, node, intervals):
        is_true, is_false = self.decided(node, intervals[0])
        false, true = self.sides(node, intervals)
        hull = smaller(false[0], true[0]), larger(false[1], true[1])
        return Interval(*(jnp.where(is_true, t, jnp.where(is_false, f, h)) for f, t, h in zip(false, true, hull, strict=True)))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        is_true, is_false = self.decided(node, intervals[0])
        open_ = ~(is_true | is_false)
        one = jnp.ones_like(node.value)
        coefficients = (jnp.zeros_like(one), jnp.where(is_false, one, 0), jnp.where(is_true, one, 0))
        return Planes(coefficients, coefficients, jnp.where(open_, -hull.lower, 0), jnp.where(open_, hull.upper, 0))


@dataclasses.dataclass(frozen=True)
class AtPlace:
    """The entry at a bounded place; the parents are (place, entries), with the entries along a new first axis.

    The entry itself where its place is certain, else the hull of those that it may be. A place outside leaves no bounds.
    """

    roundings: ClassVar[int] = 0
    takes_unknown: ClassVar[bool] = True

    def places(self, node, interval):
        """Masks of the entries that it may be, and of where these are all."""
        place, entries = (parent.value for parent in node.parents)
        low, high = outward_sum(place, interval.lower, -1) - 0.25, outward_sum(place, interval.upper, 1) + 0.25
        numbers = jnp.arange(len(entries), dtype=place.dtype).reshape(-1, *[1] * place.ndim)
        return (numbers >= low[None]) & (numbers <= high[None]), (low > -1) & (high < len(entries))

    def enclosure(self, node, intervals):
        may_be, are_all = self.places(node, intervals[0])
        values = node.parents[1].value - node.value[None]
        low = min_over(jnp.where(may_be, outward_sum(values, intervals[1].lower, -1), jnp.inf), 0)
        high = max_over(jnp.where(may_be, outward_sum(values, intervals[1].upper, 1), -jnp.inf), 0)
        return Interval(*(jnp.where(are_all, side, jnp.nan) for side in (low, high)))

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        may_be, are_all = self.places(node, intervals[0])
        is_certain = are_all & (may_be.sum(0) == 1)
        slope = (may_be & is_certain[None]).astype(node.value.dtype)
        offset = jnp.where(slope > 0, node.parents[1].value - node.value[None], 0).sum(0)
        coefficients = (None, slope)
        return Planes(
            coefficients, coefficients, jnp.where(is_certain, -offset, -hull.lower), jnp.where(is_certain, offset, hull.upper)
        )
