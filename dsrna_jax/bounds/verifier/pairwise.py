"""Maxima and minima of many values as those of two, max(a, b) = b + relu(a - b), so that the verifier can split them.

The identity holds in real arithmetic, and as f evaluates maxima, which are not rounded; the differences are rounded in the bounds
alone, and have their allowances as all sums do. Bounds that are not split take the planes of `relaxations.maximum`, which need
fewer hinges.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.rules import piecewise
from dsrna_jax.bounds.rules.building import with_axes_in_front
from dsrna_jax.bounds.rules.registry import RULES


def splittable(f: Callable, x) -> Graph:
    """The graph of f at x, in which maxima and minima are hinges. Raises: as `traced`."""
    own = {name: rule for name, rule in PAIRWISE.items() if RULES[name] is piecewise.RULES[name]}  # not those that users register
    return traced(f, x, RULES | own)


def _largest(sign):
    """The rule of reduce_max (sign 1) and reduce_min (sign -1)."""

    def reduced(x, *, axes):
        x = with_axes_in_front(x, axes=axes)
        while len(x) > 1:
            half = len(x) // 2
            pairs = (jnp.maximum if sign > 0 else jnp.minimum)(x[:half], x[half : 2 * half])
            x = jnp.concatenate([pairs, x[2 * half :]]) if len(x) % 2 else pairs
        return x[0]

    def rule(tracer, primitive, operands, params, axes):
        return tracer.inline(functools.partial(reduced, axes=params["axes"]), *operands)

    return rule


def _window_largest(tracer, primitive, operands, params, axes):
    """The rule of reduce_window_max: along one axis after the other, with the map's border in place of padding.

    The border is an entry of every window that reaches over it, if windows have no holes and none lies beside the map.
    """
    grid = list(zip(*(params[name] for name in _GRID), strict=True))
    sizes = operands[0].value.shape
    if not all(map(_is_simple, grid, sizes)):
        return piecewise.window_largest(tracer, primitive, operands, params, axes)

    def pooled(x):
        for axis, (window, stride, pads, _, _) in enumerate(grid):
            if (window, stride, pads) == (1, 1, (0, 0)):
                continue
            x = _with_borders(x, axis, *pads)
            count = (x.shape[axis] - window) // stride + 1
            entries = [lax.slice_in_dim(x, i, i + (count - 1) * stride + 1, stride, axis) for i in range(window)]
            while len(entries) > 1:
                pairs = [jnp.maximum(*entries[i : i + 2]) for i in range(0, len(entries) - 1, 2)]
                entries = pairs + entries[len(entries) - len(entries) % 2 :]
            (x,) = entries
        return x

    return tracer.inline(pooled, *operands)


_GRID = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")


def _is_simple(axis, size) -> bool:
    window, stride, (low, high), base_dilation, dilation = axis
    last = (size + low + high - window) // stride * stride - low  # the first entry of the last window
    return base_dilation == 1 and (dilation == 1 or window == 1) and 0 <= low < window and high >= 0 and last < size


def _with_borders(x, axis: int, low: int, high: int):
    """x with its first and last entries along an axis repeated."""
    first, last = lax.slice_in_dim(x, 0, 1, axis=axis), lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
    return jnp.concatenate([*[first] * low, x, *[last] * high], axis) if low or high else x


PAIRWISE = {"reduce_max": _largest(1), "reduce_min": _largest(-1), "reduce_window_max": _window_largest}
