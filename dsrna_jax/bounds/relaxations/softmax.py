"""log(sum exp), log(softmax) and softmax, by closed forms.

A softmax is exp(x_i - L(x)) with L = log(sum exp), and lies in [0, 1] for all x. Its planes are those of exp, of
a difference, and of the convex L (Wei et al. 2023, arXiv:2303.01713).
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes, ratio
from dsrna_jax.bounds.relaxations.shared import shared
from dsrna_jax.bounds.rounding import ELEMENTARY, ends, known_or
from dsrna_jax.kernels.reductions import max_over


@shared
@dataclasses.dataclass(frozen=True)
class LogSumExp:
    """log(sum exp) over the first axis of its parent.

    The interval is that of its ends, since it grows with every entry. Lower plane: the tangent at the middle. Upper plane: the
    chord of each exp, and the tangent of log at the middle of their sum.
    """

    roundings: ClassVar[int] = ELEMENTARY
    takes_overflow: ClassVar[bool] = True

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`.

        The terms exp(x_i - max) are off by |x_i - max| u times themselves, at most u / e, and their sum is at least 1.
        """
        return f + len(x) + 1

    def enclosure(self, node, intervals):
        (interval,), values = intervals, node.parents[0].value
        slack = _slack(node.value, len(values), interval.upper > interval.lower, 0)
        low, high = (jax.nn.logsumexp(side, axis=0) for side in ends(values, interval))
        return Interval(low - node.value - slack, high - node.value + slack)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (interval,), values = intervals, node.parents[0].value
        low, high = ends(values, interval)
        middle = low + (high - low) / 2
        share = jax.nn.softmax(middle, axis=0)
        below = node.value - jax.nn.logsumexp(middle, axis=0) + (share * (middle - values)).sum(0)
        top = jax.lax.stop_gradient(max_over(high, 0, keepdims=True))
        least, most = jnp.exp(low - top), jnp.exp(high - top)
        chord = jnp.where(high > low, ratio(most - least, high - low), most)
        total = ((least + most) / 2).sum(0)
        above = jnp.log(total) + top[0] + ((least + chord * (values - low)).sum(0) - total) / total - node.value
        slack = _slack(node.value, len(values), high > low, 0)
        return Planes((share,), (chord / total[None],), below + slack, above + slack)


@shared
@dataclasses.dataclass(frozen=True)
class LogSoftmax:
    """x_i - L(x), with parents x and L(x) repeated over x.

    The interval is that of -softplus(log(sum of exp of the other entries) - x_i), whose upper end takes the others' lower ends;
    the planes are those of the difference.

    axes: those that L sums over.
    """

    roundings: ClassVar[int] = ELEMENTARY
    takes_overflow: ClassVar[bool] = True
    used_intervals: ClassVar[int] = 1

    axes: tuple[int, ...]

    def size(self, x, f):
        """Scale of the rounding error of an evaluation, as in `Curve`."""
        return x + f + math.prod(x.shape[axis] for axis in self.axes) + 1

    def enclosure(self, node, intervals):
        values, interval = node.parents[0].value, intervals[0]
        low, high = ends(values, interval)
        count = int(np.prod([values.shape[axis] for axis in self.axes]))
        slack = _slack(jnp.abs(node.value) + jnp.abs(values), count, high > low, self.axes, keepdims=True)
        least = -jax.nn.softplus(_others(high, self.axes) - low) - slack
        most = jnp.minimum(-jax.nn.softplus(_others(low, self.axes) - high), 0) + slack
        return Interval(known_or(least, -jnp.inf) - node.value, known_or(most, 0) - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        zero, one = jnp.zeros_like(node.value), jnp.ones_like(node.value)
        return Planes((one, -one), (one, -one), zero, zero)


@shared
@dataclasses.dataclass(frozen=True)
class Probability:
    """exp of values <= 0: a `Curve` that lies in [0, 1] also if the interval of its parent is unknown."""

    roundings: ClassVar[int] = ELEMENTARY
    takes_overflow: ClassVar[bool] = True
    curve: ClassVar[Curve] = Curve(jnp.exp)

    def enclosure(self, node, intervals):
        x, (interval,) = node.parents[0].value, intervals
        unit = jnp.where(interval.upper > interval.lower, 8 * jnp.finfo(x.dtype).eps, 0)
        low, high = map(jnp.exp, ends(x, interval))
        low, high = jnp.clip(known_or(low, 0), 0, 1) * (1 - unit), jnp.clip(known_or(high, 1), 0, 1) * (1 + unit)
        return Interval(low - node.value, high - node.value)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        (below,), (above,), low_gap, high_gap, _ = self.curve.planes(node, intervals)
        known = jnp.isfinite(jnp.asarray(below) + jnp.asarray(above) + low_gap + high_gap)
        keep = lambda a, b: jnp.where(known, a, b)  # noqa: E731
        return Planes((keep(below, 0),), (keep(above, 0),), keep(low_gap, -hull.lower), keep(high_gap, hull.upper))


@shared
@dataclasses.dataclass(frozen=True)
class Unshifted:
    """x itself, but unknown where sum(exp(x)) over `axes` may leave the range in which f computes it to its last digits.

    Beyond, terms vanish or overflow, or the inverse of the sum is flushed to 0: XLA divides by repeated numbers by way of it.
    """

    roundings: ClassVar[int] = 0
    is_partial: ClassVar[bool] = True

    axes: tuple[int, ...]

    def unknown(self, x, interval):
        """NaN where the sum may leave its range, else 0."""
        info, count = jnp.finfo(x.dtype), math.prod(x.shape[axis] for axis in self.axes)
        # All terms that are flushed to 0 are less than 1 / 20 of a rounding of the least sum.
        least = math.log(20 * count / float(info.eps)) + math.log(float(info.tiny))
        most = -math.log(float(info.tiny)) - 1e-3
        low, high = (jax.nn.logsumexp(end, self.axes, keepdims=True) for end in ends(x, interval))
        return jnp.broadcast_to(jnp.where((low > least) & (high < most), 0, jnp.nan), x.shape)

    def enclosure(self, node, intervals):
        unknown = self.unknown(node.parents[0].value, intervals[0])
        return Interval(intervals[0].lower + unknown, intervals[0].upper + unknown)

    def planes(self, node, intervals, slopes="adaptive", hull: Any = None):
        one, unknown = jnp.ones_like(node.value), self.unknown(node.parents[0].value, intervals[0])
        return Planes((one,), (one,), unknown, unknown)


def _others(x, axes):
    """log(sum of exp of all other entries along axes) for each entry, without cancellation."""
    flat = jnp.moveaxis(x, axes, range(len(axes)))
    rest = flat.shape[len(axes) :]
    flat = flat.reshape(-1, *rest)
    place = jnp.arange(len(flat)).reshape(-1, *[1] * len(rest))
    top = jax.lax.stop_gradient(max_over(flat, 0, keepdims=True))
    is_top = place == flat.argmax(0)[None]
    entries = jnp.exp(flat - top)
    below = jnp.where(is_top, 1, entries.sum(0, keepdims=True) - entries)
    second = jax.nn.logsumexp(jnp.where(is_top, -jnp.inf, flat), axis=0) if len(flat) > 1 else jnp.full(rest, -jnp.inf, x.dtype)
    result = jnp.where(is_top, second[None], top + jnp.log(below))
    shape = [x.shape[axis] for axis in axes]
    return jnp.moveaxis(result.reshape(*shape, *rest), range(len(axes)), axes)


def _slack(value, count, is_wide, axes, keepdims=False):
    """Allowance for the rounding of a sum of `count` terms of the size of `value`; 0 where nothing along `axes` deviates."""
    is_wide = is_wide.any(axes, keepdims=keepdims) if axes != () else is_wide
    return jnp.where(is_wide, jnp.finfo(value.dtype).eps * jax.lax.stop_gradient(8 + count + 4 * jnp.abs(value)), 0)
