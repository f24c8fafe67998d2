"""The inputs that a bound holds for: a norm ball around each example, intersected with the range of valid pixels."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds import NORMS
from dsrna_jax.bounds.relaxations.interval import Interval, between
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import check_radius, is_known


@dataclasses.dataclass(frozen=True)
class Ball:
    """Deviations d of x with ||d||_p <= radius, and low <= x + d <= high if clipped.

    radius: [batch]. norm: over all leaves of an example together. boxes: the smallest box of each leaf that holds the ball.
    """

    radius: jax.Array
    norm: str
    boxes: tuple[Interval, ...]
    is_clipped: bool

    def dot_lower(self, coefficients) -> jax.Array:
        """Minimum of <coefficients, d> over the ball, exactly (from below by duality for clipped l2).

        coefficients: [row, batch, ...] for each leaf. Returns: [row, batch].
        """
        box: Any = sum(
            _entries(jnp.minimum(c * b.lower[None], c * b.upper[None]) if b.mid is not None else -jnp.abs(c) * b.radius[None])
            for c, b in zip(coefficients, self.boxes, strict=True)
        )
        if self.norm == "linf":
            return box
        if not self.is_clipped:
            return -self.radius[None] * _norm(coefficients, self.norm)
        flat = jnp.concatenate([c.reshape(*c.shape[:2], -1) for c in coefficients], -1)
        # In units of the radius, u = d / radius, so that tiny radii do not underflow.
        unit = jnp.where(self.radius > 0, self.radius, 1)[:, None]
        low, high = (
            (jnp.concatenate([getattr(b, side).reshape(len(b.radius), -1) for b in self.boxes], -1) / unit)[None]
            for side in ("lower", "upper")
        )
        least = _least_l2(flat, low, high) if self.norm == "l2" else _least_l1(flat, low, high)
        return jnp.maximum(unit[None, :, 0] * least, box)


def _least_l1(flat, low, high):
    """Minimum of <flat, u> over ||u||_1 <= 1 in a box around 0: spend the norm on the largest coefficients first."""
    gain, room = jnp.abs(flat), jnp.where(flat > 0, -low, high)
    order = jnp.argsort(-gain, -1)
    gain, room = (jnp.take_along_axis(a, order, -1) for a in (gain, room))
    spent = jnp.cumsum(room, -1) - room
    return -jnp.sum(gain * jnp.clip(1 - spent, 0, room), -1)


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
    return jnp.sum(flat * u, -1) + (multiplier * excess(u))[..., 0] / 2


def ball(leaves, radius, norm: str, clip) -> Ball:
    """The ball around leaves [batch, ...], arguments as in `bounds.bound`.

    Raises: InputError for an unknown norm, a radius that is negative or has the wrong shape, or pixels outside of clip.
    """
    if norm not in NORMS:
        raise InputError(f"unknown norm {norm!r}: expected one of {', '.join(NORMS)}")
    batch = leaves[0].shape[0]
    check_radius(radius, batch)
    radius = jnp.asarray(radius, leaves[0].dtype)
    if clip is not None:
        low, high = clip
        if not low < high:
            raise InputError(f"clip must be (low, high), got {clip}")
        for leaf in leaves:
            if is_known(leaf) and (np.any(np.asarray(leaf) < low) or np.any(np.asarray(leaf) > high)):
                least, largest = np.asarray(leaf).min(), np.asarray(leaf).max()
                raise InputError(f"x leaves the range of clip={clip}: it spans {least:g} to {largest:g}")
    # Without the barrier XLA evaluates whole layers at compile time where the radius is a constant.
    radius = lax.optimization_barrier(jnp.broadcast_to(radius, (batch,)))
    boxes = []
    for leaf in leaves:
        wide = jnp.broadcast_to(radius.reshape(-1, *[1] * (leaf.ndim - 1)), leaf.shape)
        if clip is None:
            boxes.append(Interval(None, wide))
        else:
            boxes.append(between(-jnp.minimum(wide, leaf - clip[0]), jnp.minimum(wide, clip[1] - leaf)))
    return Ball(radius, norm, tuple(boxes), clip is not None)


def _entries(x):
    return x.reshape(*x.shape[:2], -1).sum(-1)


def _norm(coefficients, norm):
    """The dual of a norm, over all leaves together: [row, batch]."""
    flat = [c.reshape(*c.shape[:2], -1) for c in coefficients]
    if norm == "l1":
        largest = [jnp.abs(c).max(-1) for c in flat]
        return jnp.stack(largest).max(0)
    squares = sum(jnp.square(c).sum(-1) for c in flat)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)
