"""Non-linear operations between their bounds: an interval, and a plane below and above.

All in deviations from the point where f was traced: for y = phi(x), y0 = phi(x0), d = x - x0 within `Interval`,

    lower * d - lower_gap  <=  y - y0  <=  upper * d + upper_gap.

At d = 0 the gaps are how far the planes lie from the function. `slopes` chooses among the sound lower slopes of a hinge:
"adaptive" (CROWN, Zhang et al. 2018), "parallel" (Fast-Lin, Weng et al. 2018; CNN-Cert), or an array in [0, 1] (alpha-CROWN,
Xu et al. 2021).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from dsrna_jax.kernels.reductions import at_least_zero, larger, largest, smaller, total_of, two_largest


class Interval(NamedTuple):
    """Deviations mid - radius .. mid + radius; mid None is 0."""

    mid: jax.Array | None
    radius: jax.Array

    @property
    def lower(self):
        return -self.radius if self.mid is None else self.mid - self.radius

    @property
    def upper(self):
        return self.radius if self.mid is None else self.mid + self.radius


def between(lower, upper) -> Interval:
    """The interval from lower to upper."""
    return Interval((lower + upper) / 2, at_least_zero((upper - lower) / 2))


def intersection(a: Interval, b: Interval) -> Interval:
    """What lies in both."""
    if a.mid is None and b.mid is None:
        return Interval(None, smaller(a.radius, b.radius))
    return between(larger(a.lower, b.lower), smaller(a.upper, b.upper))


class Planes(NamedTuple):
    """Coefficients by parent, and gaps; the shapes are the node's, with an axis in front where a parent has one more.

    None for a parent that only has bounds to give.
    """

    lower: tuple[jax.Array | None, ...]
    upper: tuple[jax.Array | None, ...]
    lower_gap: jax.Array
    upper_gap: jax.Array


def ratio(a, b):
    """a / b, and 0 where b is 0, with finite derivatives."""
    empty = b == 0
    return jnp.where(empty, 0, a / jnp.where(empty, 1, b))


@dataclasses.dataclass(frozen=True)
class Hinge:
    """x -> left * t where t < 0, right * t where t >= 0, for t = x - at: relu, leaky relu, abs, max and min with constants."""

    left: float | jax.Array
    right: float | jax.Array
    at: float | jax.Array = 0.0

    def bounded_sides(self, node, interval):
        t = node.parents[0].value - self.at
        return t, t + interval.lower, t + interval.upper

    def is_undecided(self, node, intervals):
        """Where the interval spans the kink: only there a relaxation is needed."""
        _, low, high = self.bounded_sides(node, intervals[0])
        return spans(low, high)

    def enclosure(self, node, intervals):
        (interval,) = intervals
        t, low, high = self.bounded_sides(node, interval)
        first, second = (change(t, side, self.left, self.right) for side in (interval.lower, interval.upper))
        if _is_concrete(self.left, self.right) and min(np.min(self.left), np.min(self.right)) >= 0:
            return between(first, second)
        down, up = smaller(first, second), larger(first, second)
        bottom = -(jnp.where(t >= 0, self.right, self.left) * t)  # the kink's own value, 0, less phi(t)
        undecided = spans(low, high)
        return between(
            jnp.where(undecided, smaller(down, bottom), down),
            jnp.where(undecided, larger(up, bottom), up),
        )

    def planes(self, node, intervals, slopes="adaptive"):
        (interval,) = intervals
        t, low, high = self.bounded_sides(node, interval)
        undecided = spans(low, high)
        value = jnp.where(t >= 0, self.right, self.left) * t
        decided = jnp.where(low >= 0, self.right, self.left)
        chord = ratio(self.right * high - self.left * low, jnp.where(undecided, high - low, 1))
        chord_gap = jnp.where(undecided, self.left * low - chord * interval.lower - value, 0)
        share = adaptive_share(low, high) if isinstance(slopes, str) else slopes
        free = chord if isinstance(slopes, str) and slopes == "parallel" else self.left + share * (self.right - self.left)
        free_gap = jnp.where(undecided, value - free * t, 0)
        chord, free = jnp.where(undecided, chord, decided), jnp.where(undecided, free, decided)
        convex = np.asarray(self.right >= self.left) if _is_concrete(self.left, self.right) else self.right >= self.left
        if isinstance(convex, np.ndarray) and convex.all():
            return Planes((free,), (chord,), free_gap, chord_gap)
        pick = lambda a, b: jnp.where(convex, a, b)  # noqa: E731
        return Planes((pick(free, chord),), (pick(chord, free),), pick(free_gap, -chord_gap), pick(chord_gap, -free_gap))


@jax.custom_jvp
def change(t, d, left, right):
    """phi(t + d) - phi(t) of the hinge phi at 0, without cancellation where both lie on one side of it."""
    end = t + d
    here, there = t >= 0, end >= 0
    crossed = jnp.where(there, right * end - left * t, left * end - right * t)
    return jnp.where(here == there, jnp.where(here, right, left) * d, crossed)


@functools.partial(change.defjvp, symbolic_zeros=True)
def _change_jvp(values, tangents):
    """Two comparisons, where autodiff of the formula would keep three."""
    t, d, left, right = values
    there, here = (jnp.where(x >= 0, right, left) for x in (t + d, t))
    sides = (jnp.minimum(t + d, 0) - jnp.minimum(t, 0), jnp.maximum(t + d, 0) - jnp.maximum(t, 0))
    parts = zip((there - here, there, *sides), tangents, strict=True)
    moved = [coefficient * tangent for coefficient, tangent in parts if not isinstance(tangent, SymbolicZero)]
    return change(*values), functools.reduce(jnp.add, moved)


def spans(low, high):
    """Whether 0 lies within an interval; one that is not known, NaN, is taken to, so that nothing is concluded from it."""
    return ~((low >= 0) | (high <= 0))


def adaptive_share(low, high):
    """1 where more of the interval lies right of the kink, else 0: the least area between the lines."""
    return (high > -low).astype(low.dtype)


def _is_concrete(*values):
    return not any(isinstance(v, jax.core.Tracer) for v in values)


@dataclasses.dataclass(frozen=True)
class Larger:
    """max(a, b) of parents a, b and relu(a - b): the interval from a and b, the planes from b + relu(a - b)."""

    used_intervals = 2

    def enclosure(self, node, intervals):
        a, b = (p.value - node.value for p in node.parents[:2])
        return between(
            larger(a + intervals[0].lower, b + intervals[1].lower),
            larger(a + intervals[0].upper, b + intervals[1].upper),
        )

    def planes(self, node, intervals, slopes="adaptive"):
        zero, one = jnp.zeros_like(node.value), jnp.ones_like(node.value)
        return Planes((zero, one, one), (zero, one, one), zero, zero)


@dataclasses.dataclass(frozen=True)
class Largest:
    """Maximum over the first axis of the parents: the entries, and how far each is above the leader, the largest at the trace.

    Below: the entry with the largest lower bound. Above: with k the entry of the largest upper bound and m what the others, and
    its own lower bound, reach, the chord of max(x_k, m); a constant if x_k cannot exceed m. Or the leader plus that of the
    leads, which are far narrower than the entries where neighbours move together: what is lower in the middle.
    """

    def enclosure(self, node, intervals, leads_are_narrowed):
        """Leads as they come from the entries say less than the entries do; those that a method has narrowed may say more."""
        entries, leads = intervals
        values = node.parents[0].value - node.value
        if not leads_are_narrowed:
            sides = jnp.stack([values + entries.lower, values + entries.upper], axis=1)
            return between(*largest(sides))
        leader, lead = leader_of(node.parents[0].value), node.parents[1].value
        low, high = (total_of(jnp.where(leader, side, 0)) for side in (values + entries.lower, values + entries.upper))
        return between(
            larger(largest(values + entries.lower), low + largest(lead + leads.lower)),
            smaller(largest(values + entries.upper), high + largest(lead + leads.upper)),
        )

    def is_undecided(self, node, leads):
        """Which entries might become larger than the leader."""
        values = node.parents[1].value
        return ~((values + leads.upper <= 0) | leader_of(node.parents[0].value))

    def greatest(self, values, interval):
        """Where the greatest upper bound is, and the greatest of the others."""
        upper = values + interval.upper
        upper = jnp.where(jnp.isnan(upper), np.inf, upper)  # NaN would be smaller than any
        greatest, second = two_largest(upper)
        return greatest, total_of(jnp.where(second, upper, 0)) if len(values) > 1 else jnp.full_like(upper[0], -np.inf)

    def chord(self, values, interval):
        """Slopes, and value where nothing deviates, of a plane above the maximum."""
        greatest, rival = self.greatest(values, interval)
        value, low, high = (
            total_of(jnp.where(greatest, x, 0)) for x in (values, values + interval.lower, values + interval.upper)
        )
        floor = larger(rival, low)
        slope = jnp.where(high > floor, ratio(high - floor, jnp.where(high > floor, high - low, 1)), 0)
        slope = jnp.where(low >= rival, 1, slope)  # the entry is the maximum wherever it lies
        return jnp.where(greatest, slope, 0), jnp.where(low >= rival, value, floor + slope * (value - low))

    def lowest(self, values, entries):
        # Lower bounds are often alike, as those of ReLUs are: the wider entry then reaches higher, and rounding has no say.
        return two_largest(values + entries.lower + 1e-3 * entries.radius)[0]

    def planes(self, node, intervals, slopes="adaptive"):
        entries, leads = intervals
        values, leader = node.parents[0].value - node.value, leader_of(node.parents[0].value)
        upper, gap = self.chord(values, entries)
        above, lead_gap = self.chord(node.parents[1].value, leads)
        above = above + jnp.where(leader, 1 - total_of(above), 0)
        lead_gap = lead_gap + total_of(jnp.where(leader, values, 0))
        middle = 0 if entries.mid is None else total_of((upper - above) * entries.mid)
        # Both often end at one height; rounding then has no say, and fewer entries are the better choice.
        is_entry = gap + middle <= lead_gap + 1e-3 * total_of(jnp.abs(upper) * entries.radius)
        lowest = self.lowest(values, entries)
        lower_gap = -total_of(jnp.where(lowest, values, 0))
        return Planes(
            (lowest.astype(values.dtype), None),
            (jnp.where(is_entry, upper, above), None),
            lower_gap,
            jnp.where(is_entry, gap, lead_gap),
        )


def leader_of(values):
    """Where the largest of the first axis is; of those that are alike, as the zeros of ReLUs are, the first."""
    handicap = 16 * jnp.finfo(values.dtype).eps * jnp.abs(values)
    return two_largest(values - handicap * jnp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)))[0]


@dataclasses.dataclass(frozen=True)
class Product:
    """a * b of two bounded values: the mean of McCormick's planes, on deviations."""

    def enclosure(self, node, intervals):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        corners = [a * y + b * x + x * y for x in (da.lower, da.upper) for y in (db.lower, db.upper)]
        return between(functools.reduce(smaller, corners), functools.reduce(larger, corners))

    def planes(self, node, intervals, slopes="adaptive"):
        (a, b), (da, db) = (p.value for p in node.parents), intervals
        mid_a, mid_b = ((d.lower + d.upper) / 2 for d in intervals)
        product, spread = mid_a * mid_b, da.radius * db.radius
        coefficients = (b + mid_b, a + mid_a)
        return Planes(coefficients, coefficients, spread + product, spread - product)


@dataclasses.dataclass(frozen=True)
class Choice:
    """`select_n` by a comparison of bounded values, of parents (compared difference, if false, if true).

    Exact where the comparison is decided, else the hull of both sides.
    """

    compare: str

    def decided(self, node, interval):
        value = node.parents[0].value
        low, high = value + interval.lower, value + interval.upper
        if self.compare in ("gt", "ge"):
            return (low > 0) if self.compare == "gt" else (low >= 0), (high <= 0) if self.compare == "gt" else (high < 0)
        return (high < 0) if self.compare == "lt" else (high <= 0), (low >= 0) if self.compare == "lt" else (low > 0)

    def sides(self, node, intervals):
        _, false, true = (p.value - node.value for p in node.parents)
        return (false + intervals[1].lower, false + intervals[1].upper), (true + intervals[2].lower, true + intervals[2].upper)

    def enclosure(self, node, intervals):
        is_true, is_false = self.decided(node, intervals[0])
        false, true = self.sides(node, intervals)
        hull = smaller(false[0], true[0]), larger(false[1], true[1])
        return between(*(jnp.where(is_true, t, jnp.where(is_false, f, h)) for f, t, h in zip(false, true, hull, strict=True)))

    def planes(self, node, intervals, slopes="adaptive"):
        is_true, is_false = self.decided(node, intervals[0])
        hull = self.enclosure(node, intervals)
        open_ = ~(is_true | is_false)
        one = jnp.ones_like(node.value)
        coefficients = (jnp.zeros_like(one), jnp.where(is_false, one, 0), jnp.where(is_true, one, 0))
        return Planes(coefficients, coefficients, jnp.where(open_, -hull.lower, 0), jnp.where(open_, hull.upper, 0))
