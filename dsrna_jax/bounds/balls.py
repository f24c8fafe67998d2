"""The inputs that a bound holds for: a norm ball around each example, within the range of valid pixels, or any box."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from dsrna_jax.bounds import NORMS
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.rounding import gamma, length, outward_sum, reach_of, total
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import check_radius, is_known, is_real
from dsrna_jax.kernels.reductions import max_over


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Box:
    """The inputs x' with lower <= x' <= upper, entry by entry: pixels and examples may have widths of their own.

    lower, upper: arrays [batch, ...] or pytrees of them, of the shapes of the inputs.
    """

    lower: PyTree[Float[Array, "batch ..."]]
    upper: PyTree[Float[Array, "batch ..."]]

    @classmethod
    def around(
        cls, x: Float[Array, "batch ..."], radius: float | Float[Array, " batch"], clip: tuple[float, float] | None = None
    ) -> "Box":
        """The inputs within `radius` of an array x in every entry, and in the range `clip`; ends are rounded outwards."""
        wide = jnp.reshape(jnp.asarray(radius, x.dtype), (-1, *[1] * (x.ndim - 1)))
        wide = jnp.where(wide > 0, jnp.nextafter(wide, jnp.inf), wide)
        ends = (jnp.where(wide > 0, jnp.nextafter(x + sign * wide, sign * jnp.inf), x) for sign in (-1, 1))
        low, high = (-jnp.inf, jnp.inf) if clip is None else clip
        return cls(*(jnp.clip(end, low, high) for end in ends))

    def of_examples(self, examples: Int[Array | np.ndarray, " taken"]) -> "Box":
        """The boxes of some of the examples."""
        return jax.tree.map(lambda side: side[examples], self)

    @property
    def middle(self) -> PyTree[Float[Array, "batch ..."]]:
        """The input in the middle, where a function may be traced for bounds over the box."""
        return jax.tree.map(lambda low, high: low + (high - low) / 2, self.lower, self.upper)


@dataclasses.dataclass(frozen=True)
class Ball:
    """Deviations d of x with ||d||_p <= radius, and low <= x + d <= high if clipped; or all deviations in `boxes`.

    radius: [batch]; of a box, the largest absolute deviation; under "l0", the number of pixels that change.
    norm: over all leaves of an example together.
    channel_axis: under "l0", along which the entries of a leaf are one pixel, >= 0; None if each entry is a pixel.
    boxes: the smallest box of each leaf that holds the ball.
    clip: (low, high), or None.
    """

    radius: jax.Array
    norm: str
    boxes: tuple[Interval, ...]
    clip: tuple[float, float] | None
    channel_axis: int | None = None

    def clipped(self, x, box: Interval) -> Interval:
        """A box of deviations from x, cut to `clip`."""
        if self.clip is None:
            return box
        low, high = self.clip
        return Interval(jnp.maximum(box.lower, low - x), jnp.minimum(box.upper, high - x))

    def dot_lower(self, coefficients) -> jax.Array:
        """Lower bound of <coefficients, d> over the ball: the minimum up to rounding, and up to the dual for clipped l2.

        coefficients: [row, batch, ...] for each leaf. Returns: [row, batch].
        """
        if self.norm != "linf" and self.clip is None:
            return -self.radius[None] * _norm(coefficients, self.norm)
        box: Any = -sum(
            total(-jnp.minimum(c * b.lower[None], c * b.upper[None]), 2) for c, b in zip(coefficients, self.boxes, strict=True)
        )
        if self.norm == "linf":
            return box
        if self.norm == "l0":
            return jnp.maximum(box, self._least_l0(coefficients))
        flat = jnp.concatenate([c.reshape(*c.shape[:2], -1) for c in coefficients], -1)
        # In units of the radius, u = d / radius, so that tiny radii do not underflow.
        unit = jnp.where(self.radius > 0, self.radius, 1)[:, None]
        low, high = (
            (jnp.concatenate([getattr(b, side).reshape(len(b.radius), -1) for b in self.boxes], -1) / unit)[None]
            for side in ("lower", "upper")
        )
        least = _least_l2(flat, low, high) if self.norm == "l2" else _least_l1(flat, low, high)
        return jnp.maximum(unit[None, :, 0] * least, box)

    def _least_l0(self, coefficients) -> jax.Array:
        """Minimum of <coefficients, d> where `radius` pixels change, within their boxes: those that lower it most."""
        gains = []
        for c, box in zip(coefficients, self.boxes, strict=True):
            gain = -jnp.minimum(c * box.lower[None], c * box.upper[None])
            if self.channel_axis is not None:
                gain = jnp.moveaxis(gain, self.channel_axis + 1, -1)
                gain = total(gain, gain.ndim - 1)
            gains.append(gain.reshape(*c.shape[:2], -1))
        most = -jnp.sort(-jnp.concatenate(gains, -1), -1)
        changes = jnp.arange(most.shape[-1])[None, None] < self.radius[None, :, None]
        return -total(jnp.where(changes, most, 0), 2)


def _least_l1(flat, low, high):
    """Minimum of <flat, u> over ||u||_1 <= 1 in a box around 0: spend the norm on the largest coefficients first."""
    gain, room = jnp.abs(flat), jnp.where(flat > 0, -low, high)
    order = jnp.argsort(-gain, -1)
    gain, room = (jnp.take_along_axis(a, order, -1) for a in (gain, room))
    spent = jnp.cumsum(room, -1) - room
    # `spent` is off by a share of itself, which matters up to 1 only.
    spare = gamma(flat.shape[-1] + 4, flat.dtype)
    return -total(gain * jnp.clip(1 + spare * (1 + jnp.minimum(spent, 1)) - spent, 0, room), 2)


def _least_l2(flat, low, high):
    """Lower bound of the minimum of <flat, u> over ||u||_2 <= 1 in a box, by its Lagrange dual.

    Every multiplier gives a sound bound; 40 bisections find the best one to rounding.
    """

    def minimiser(multiplier):
        return jnp.clip(-flat / jnp.maximum(multiplier, np.finfo(flat.dtype).tiny), low, high)

    def excess(u):
        return jnp.sum(jnp.square(u), -1, keepdims=True) - 1

    def halve(_, ends):
        small, large = ends
        middle = jnp.sqrt(small * large)
        outside = excess(minimiser(middle)) > 0
        return jnp.where(outside, middle, small), jnp.where(outside, large, middle)

    greatest = jnp.linalg.norm(lax.stop_gradient(flat), axis=-1, keepdims=True)
    multiplier = lax.stop_gradient(lax.fori_loop(0, 40, halve, (greatest * 1e-7, greatest))[1])
    u = minimiser(multiplier)
    parts = total(-flat * u, 2), multiplier[..., 0] * total(jnp.square(u), 2) / 2, multiplier[..., 0] / 2
    return -parts[0] + parts[1] - parts[2] - 4 * gamma(flat.shape[-1] + 8, flat.dtype) * lax.stop_gradient(parts[1] + parts[2])


def region(leaves, *, radius, norm: str, clip, box: Box | None, channel_axis: int | None = None) -> Ball:
    """The inputs around leaves [batch, ...] that a bound holds for, arguments as in `bounds.bound`.

    Raises: InputError unless one of radius and box is given; or as `ball` and `boxed`.
    """
    if (radius is None) == (box is None):
        raise InputError(f"expected a radius or a box, got {'neither' if box is None else 'both'}")
    if norm != "l0" and channel_axis is not None:
        raise InputError(f"only norm=l0 counts pixels: leave out channel_axis={channel_axis}")
    if box is None:
        return sparse(leaves, radius, clip, channel_axis) if norm == "l0" else ball(leaves, radius, norm, clip)
    if not isinstance(box, Box):
        raise InputError(f"a box must be a bounds.Box(lower, upper), got {type(box).__name__}")
    if norm != "linf":
        raise InputError(f"a box has no norm: leave out norm={norm!r}, or give a radius")
    return boxed(leaves, box, clip)


def sparse(leaves, pixels, clip, channel_axis: int | None = None) -> Ball:
    """The inputs that differ from leaves [batch, ...] in up to so many pixels, a number or [batch].

    Changed pixels may take any valid value.

    Args:
      channel_axis: along which the entries of a leaf are one pixel, as axis 1 or -1 of images; by default each entry is a pixel.
    Raises: InputError without the range of valid values, without a channel axis for leaves of four axes or more, for one that is
      no axis of all leaves beside the batch, or as `ball`.
    """
    if clip is None:
        raise InputError("norm=l0 needs the range that changed pixels stay in: give clip=(low, high)")
    whole = ball(leaves, pixels, "linf", clip)
    if channel_axis is None:
        if any(leaf.ndim > 3 for leaf in leaves):
            raise InputError("norm=l0 counts pixels: give the channel_axis of the images, -1 if channels are last, 1 if first")
    else:
        axes = {channel_axis + leaf.ndim if channel_axis < 0 else channel_axis for leaf in leaves}
        if len(axes) > 1 or not all(0 < axis < leaf.ndim for axis in axes for leaf in leaves):
            raise InputError(f"channel_axis={channel_axis} is no axis of x beside the batch: {[leaf.shape for leaf in leaves]}")
        (channel_axis,) = axes
    low, high = clip
    boxes = (Interval(jnp.full_like(leaf, low) - leaf, jnp.full_like(leaf, high) - leaf) for leaf in leaves)
    counts = [whole.radius.reshape(-1, *[1] * (leaf.ndim - 1)) for leaf in leaves]
    held = tuple(
        Interval(*(jnp.where(count >= 1, side, 0 * count) for side in box)) for count, box in zip(counts, boxes, strict=True)
    )
    return Ball(jnp.floor(whole.radius), "l0", held, clip, channel_axis)


def boxed(leaves, box: Box, clip) -> Ball:
    """The deviations that lead from leaves [batch, ...] into a box.

    Raises: InputError for ends of other shapes than the leaves, or, where numbers are known, in the wrong order or without x, or
      for leaves outside of clip.
    """
    ends = jax.tree.leaves(box.lower), jax.tree.leaves(box.upper)
    shapes = [leaf.shape for leaf in leaves]
    for name, side in zip(("lower", "upper"), ends, strict=True):
        if [np.shape(end) for end in side] != shapes:
            raise InputError(f"the box's {name} end has the shapes {[np.shape(end) for end in side]}, and x has {shapes}")
    boxes = []
    for leaf, low, high in zip(leaves, *ends, strict=True):
        if not (is_real(low) and is_real(high)):
            raise InputError(f"the ends of a box must be real numbers, got {np.asarray(low).dtype} and {np.asarray(high).dtype}")
        low, high = rounded_outwards(low, leaf.dtype, -1), rounded_outwards(high, leaf.dtype, 1)
        if is_known(leaf, low, high):
            _check_order(np.asarray(leaf), np.asarray(low), np.asarray(high))
        low, high = (lax.optimization_barrier(jnp.asarray(end)) for end in (low, high))
        boxes.append(Interval(jnp.minimum(outward_sum(low, -leaf, -1), 0), jnp.maximum(outward_sum(high, -leaf, 1), 0)))
    _check_range(leaves, clip)
    reach = max_over(jnp.stack([max_over(reach_of(each).reshape(len(each.lower), -1), 1) for each in boxes]), 0)
    area = Ball(reach, "linf", tuple(boxes), clip)
    return dataclasses.replace(area, boxes=tuple(area.clipped(leaf, each) for leaf, each in zip(leaves, boxes, strict=True)))


def _check_order(x, low, high):
    if not np.all(low <= high):
        place = tuple(map(int, np.argwhere(~(low <= high))[0]))
        raise InputError(f"the box's lower end lies above its upper end at {place}: {low[place]:g} and {high[place]:g}")
    if not (np.all(low <= x) and np.all(x <= high)):
        place = tuple(map(int, np.argwhere((x < low) | (x > high))[0]))
        raise InputError(f"x lies outside of the box at {place}: {x[place]:g} is not in {low[place]:g} to {high[place]:g}")


def rounded_outwards(end, dtype, sign: int):
    """The end of a box in a type, moved up (sign 1) or down (sign -1) where rounding would leave some of the box out."""
    if end.dtype == dtype:
        return end
    xp: Any = np if is_known(end) else jnp  # JAX would round numbers of 64 bits as it takes them
    exact = xp.asarray(end)
    near = exact.astype(dtype)
    beyond = xp.nextafter(near, xp.asarray(sign * np.inf, dtype))
    return xp.where(sign * near < sign * exact, beyond, near)


def _check_range(leaves, clip) -> None:
    """Raises: InputError if leaves are known to be outside of clip."""
    if clip is None:
        return
    low, high = clip
    for leaf in leaves:
        if is_known(leaf) and (np.any(np.asarray(leaf) < low) or np.any(np.asarray(leaf) > high)):
            least, largest = np.min(np.asarray(leaf)), np.max(np.asarray(leaf))
            raise InputError(f"x leaves the range of clip={clip}: it spans {least:g} to {largest:g}")


def ball(leaves, radius, norm: str, clip) -> Ball:
    """The ball around leaves [batch, ...], arguments as in `bounds.bound`.

    Raises: InputError for an unknown norm, a radius that is negative or has the wrong shape, or pixels outside of clip.
    """
    if norm not in NORMS:
        raise InputError(f"unknown norm {norm!r}: expected one of {', '.join(NORMS)}, or l0 with clip")
    batch = leaves[0].shape[0]
    check_radius(radius, batch)
    least = np.finfo(leaves[0].dtype).tiny
    if is_known(radius):  # what is less may count as 0, also in comparisons
        radius = np.where((np.asarray(radius) > 0) & (np.asarray(radius) < least), least, radius)
    radius = jnp.asarray(radius, leaves[0].dtype)
    _check_range(leaves, clip)
    # Without the barrier XLA evaluates whole layers at compile time where the radius is a constant.
    radius = lax.optimization_barrier(jnp.broadcast_to(radius, (batch,)))
    radius = jnp.where(radius >= 0, radius, jnp.nan)  # of a negative radius that is known only as it is computed
    boxes = []
    for leaf in leaves:
        wide = jnp.broadcast_to(radius.reshape(-1, *[1] * (leaf.ndim - 1)), leaf.shape)
        boxes.append(Interval(-wide, wide))
    area = Ball(radius, norm, tuple(boxes), clip)
    return dataclasses.replace(area, boxes=tuple(area.clipped(leaf, box) for leaf, box in zip(leaves, boxes, strict=True)))


def _norm(coefficients, norm):
    """Upper bound of the dual norm over all leaves together: [row, batch]."""
    if norm == "l1":
        largest = [max_over(jnp.abs(c), tuple(range(2, c.ndim))) for c in coefficients]
        return max_over(jnp.stack(largest), 0) * (1 + gamma(4, largest[0].dtype))
    return length(jnp.stack([length(c, 2) for c in coefficients], -1), 2)
