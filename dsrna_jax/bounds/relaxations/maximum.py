"""Maxima of bounded values: of two, and over the entries of a window or an axis."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.relaxations.interval import between
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.kernels.reductions import larger, largest, smaller, total_of, two_largest


@dataclasses.dataclass(frozen=True)
class Larger:
    """max(a, b), with parents a, b and relu(a - b). The interval comes from a and b, the planes are those of b + relu(a - b)."""

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
    """Maximum over the first axis of its parents: the entries, and the leads, each entry less the largest one at the trace point.

    Lower plane: the entry with the largest lower bound.

    Upper plane: let k have the largest upper bound and m be the larger of k's lower bound and all other upper bounds; take the
    chord of max(x_k, m), a constant where x_k cannot exceed m. A second plane is the entry that is largest at the trace point
    plus the upper plane of the leads, which are far narrower than the entries where neighbours move together. Keep the lower of
    the two at the interval's centre.
    """

    def enclosure(self, node, intervals, leads_are_narrowed):
        """From the entries alone, unless a method has narrowed the leads: intervals of entries imply looser ones of leads."""
        entries, leads = intervals
        values = node.parents[0].value - node.value[None]
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
        """The entries that may exceed the leader."""
        values = node.parents[1].value
        return ~((values + leads.upper <= 0) | leader_of(node.parents[0].value))

    def greatest(self, values, interval):
        """Mask of the entry with the largest upper bound, and the largest of the other upper bounds."""
        upper = values + interval.upper
        upper = jnp.where(jnp.isnan(upper), np.inf, upper)  # NaN would be smaller than any
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
        return jnp.where(greatest, slope[None], 0), jnp.where(low >= rival, value, floor + slope * (value - low))

    def lowest(self, values, entries):
        """Mask of the entry with the largest lower bound; of nearly equal ones, as after ReLUs, the widest."""
        return two_largest(values + entries.lower + 1e-3 * entries.radius)[0]

    def planes(self, node, intervals, slopes="adaptive"):
        entries, leads = intervals
        values, leader = node.parents[0].value - node.value[None], leader_of(node.parents[0].value)
        upper, gap = self.chord(values, entries)
        above, lead_gap = self.chord(node.parents[1].value, leads)
        above = above + jnp.where(leader, (1 - total_of(above))[None], 0)
        lead_gap = lead_gap + total_of(jnp.where(leader, values, 0))
        middle = 0 if entries.mid is None else total_of((upper - above) * entries.mid)
        # Of planes that are equally high but for rounding, take the one of the entries, which has fewer coefficients.
        is_entry = gap + middle <= lead_gap + 1e-3 * total_of(jnp.abs(upper) * entries.radius)
        lowest = self.lowest(values, entries)
        lower_gap = -total_of(jnp.where(lowest, values, 0))
        return Planes(
            (lowest.astype(values.dtype), None),
            (jnp.where(is_entry[None], upper, above), None),
            lower_gap,
            jnp.where(is_entry, gap, lead_gap),
        )


def leader_of(values):
    """Mask of the largest entry of the first axis; of nearly equal ones, such as zeros after ReLUs, the first."""
    handicap = 16 * jnp.finfo(values.dtype).eps * jnp.abs(values)
    return two_largest(values - handicap * jnp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)))[0]
