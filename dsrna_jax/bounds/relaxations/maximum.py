"""Maxima of bounded values: of two, and over the entries of a window or an axis."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.rounding import gamma, outward_sum
from dsrna_jax.kernels.reductions import larger, largest, smaller, total_of, two_largest


@dataclasses.dataclass(frozen=True)
class Larger:
    """max(a, b), with parents a, b and relu(a - b). The interval comes from a and b, the planes are those of b + relu(a - b)."""

    roundings: ClassVar[int] = 0

    used_intervals: ClassVar[int] = 2

    def enclosure(self, node, intervals):
        a, b = (p.value - node.value for p in node.parents[:2])
        return Interval(
            larger(outward_sum(a, intervals[0].lower, -1), outward_sum(b, intervals[1].lower, -1)),
            larger(outward_sum(a, intervals[0].upper, 1), outward_sum(b, intervals[1].upper, 1)),
        )

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        zero, one = jnp.zeros_like(node.value), jnp.ones_like(node.value)
        return Planes((zero, one, one), (zero, one, one), zero, zero)


@dataclasses.dataclass(frozen=True)
class Largest:
    """Maximum over the first axis of its parents: the entries, and their leads over the entry that is largest at the trace point.

    Lower plane: the entry with the largest lower bound.

    Upper plane: let k have the largest upper bound and m be the larger of k's lower bound and all other upper bounds; take the
    chord of max(x_k, m), a constant where x_k cannot exceed m. A second plane is the entry that is largest at the trace point
    plus the upper plane of the leads, which are far narrower than the entries where neighbours move together. Keep the lower of
    the two at the interval's centre.
    """

    roundings: ClassVar[int] = 0

    def enclosure(self, node, intervals, leads_are_narrowed=False):
        """From the entries alone, unless a method has narrowed the leads: intervals of entries imply looser ones of leads."""
        entries, leads = intervals[0], self.leads(node, intervals)
        values = node.parents[0].value - node.value[None]
        if not leads_are_narrowed:
            sides = jnp.stack([outward_sum(values, entries.lower, -1), outward_sum(values, entries.upper, 1)], axis=1)
            return Interval(*largest(sides))
        leader, lead = leader_of(node.parents[0].value), node.parents[1].value
        low, high = outward_sum(values, entries.lower, -1), outward_sum(values, entries.upper, 1)
        at_leader = [total_of(jnp.where(leader, side, 0)) for side in (low, high)]
        lead_low, lead_high = largest(outward_sum(lead, leads.lower, -1)), largest(outward_sum(lead, leads.upper, 1))
        return Interval(
            larger(largest(low), outward_sum(at_leader[0], lead_low, -1)),
            smaller(largest(high), outward_sum(at_leader[1], lead_high, 1)),
        )

    def leads(self, node, intervals):
        """The intervals of the leads; 0 for those of entries that are always -inf, as a mask or a border makes them."""
        entries, leads = intervals
        is_hidden = jnp.isinf(node.parents[0].value) & (entries.lower == 0) & (entries.upper == 0)
        return Interval(*(jnp.where(is_hidden, 0, side) for side in leads))

    def is_undecided(self, node, leads):
        """The entries that may exceed the leader."""
        values = node.parents[1].value
        return ~((values + leads.upper <= 0) | leader_of(node.parents[0].value))

    def greatest(self, values, interval):
        """Mask of the entry with the largest upper bound, and the largest of the other upper bounds."""
        upper = outward_sum(values, interval.upper, 1)
        upper = jnp.where(jnp.isnan(upper), np.inf, upper)  # NaN would compare as smaller than all
        greatest, second = two_largest(upper)
        return greatest, total_of(jnp.where(second, upper, 0)) if len(values) > 1 else jnp.full_like(upper[0], -np.inf)

    def chord(self, values, interval):
        """Slopes of a plane above the maximum, and its value at the trace point."""
        greatest, rival = self.greatest(values, interval)
        value, low, high = (
            total_of(jnp.where(greatest, x, 0)) for x in (values, values + interval.lower, values + interval.upper)
        )
        floor = larger(rival, low)
        slope = jnp.where(high > floor, ratio(high - floor, jnp.where(high > floor, high - low, 1)), 0)
        slope = jnp.where(low >= rival, 1, slope)  # the entry is the maximum wherever it lies
        above = outward_sum(floor, slope * (value - low), 1) + gamma(4, value.dtype) * lax.stop_gradient(
            jnp.abs(high) + jnp.abs(low)
        )
        return jnp.where(greatest, slope[None], 0), jnp.where(low >= rival, value, above)

    def lowest(self, values, entries):
        """Mask of the entry with the largest lower bound; of nearly equal ones, as after ReLUs, the widest."""
        return two_largest(values + entries.lower + 1e-3 * entries.radius)[0]

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        entries, leads = intervals[0], self.leads(node, intervals)
        values, leader = node.parents[0].value - node.value[None], leader_of(node.parents[0].value)
        upper, gap = self.chord(values, entries)
        above, lead_gap = self.chord(node.parents[1].value, leads)
        above = above + jnp.where(leader, (1 - total_of(above))[None], 0)
        lead_gap = lead_gap + total_of(jnp.where(leader, values, 0))
        middle = total_of((upper - above) * entries.mid)
        # Of planes of the same height up to rounding, take that of the entries, which has fewer coefficients.
        is_entry = gap + middle <= lead_gap + 1e-3 * total_of(jnp.abs(upper) * entries.radius)
        lowest = self.lowest(values, entries)
        at_lowest = total_of(jnp.where(lowest, values, 0))
        lower_gap = -outward_sum(at_lowest, jnp.zeros_like(at_lowest), -1)
        return Planes(
            (lowest.astype(values.dtype), None),
            (jnp.where(is_entry[None], upper, above), None),
            lower_gap,
            jnp.where(is_entry, gap, lead_gap),
        )


def leader_of(values):
    """Mask of the largest entry of the first axis; of nearly equal ones, such as zeros after ReLUs, the first."""
    handicap = 16 * jnp.finfo(values.dtype).eps * jnp.where(jnp.isinf(values), 0, jnp.abs(values))
    return two_largest(values - handicap * jnp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)))[0]
