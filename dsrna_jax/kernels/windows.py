"""Entries of the windows of a pool, as a linear primitive.

The forward pass is one loop over the entries of a window; the transpose pads and sums. Stacked slices, and their derivatives,
would be a kernel for each entry.
"""

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Shaped

from dsrna_jax.kernels.lowering import define, noinline

windows_p = Primitive("windows")


def windows(
    x: Shaped[Array, "*image"],
    fill: npt.ArrayLike,
    *,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int],
    dilation: Sequence[int],
) -> Shaped[Array, "entry *window_position"]:
    """Entries of each window of `lax.reduce_window`, with `fill` outside of x.

    Args: those of `lax.reduce_window`, which reduces the first axis of the result.
    Returns: [entries of a window, *window positions].
    """
    borders = [(*p, d - 1) for p, d in zip(padding, base_dilation, strict=True)]
    padded = lax.pad(x, np.asarray(fill, x.dtype), borders)
    sizes = zip(padded.shape, window, dilation, strides, strict=True)
    counts = tuple((n - (w - 1) * d - 1) // s + 1 for n, w, d, s in sizes)
    grid = {"window": tuple(window), "strides": tuple(strides), "dilation": tuple(dilation)}
    return windows_p.bind(padded, solve="entries", size=counts, **grid)


def _offsets(window, dilation):
    return np.array(list(itertools.product(*([i * d for i in range(w)] for w, d in zip(window, dilation, strict=True)))))


def _reach(size, strides):
    return [(n - 1) * s + 1 for n, s in zip(size, strides, strict=True)]


def _solved(x, *, solve, size, window, strides, dilation):
    offsets = _offsets(window, dilation)
    if solve == "entries":
        reach = _reach(size, strides)
        return lax.map(lambda o: lax.slice(lax.dynamic_slice(x, o, reach), [0] * x.ndim, reach, strides), jnp.array(offsets))
    return _summed(x, offsets, np.array(size), np.array(strides))


def _summed(x, offsets, size, strides):
    """Transpose: sums entries [entry, ...] at the pixels they came from, one position modulo the strides after the other."""
    lengths, phases = -(-size // strides), []
    for phase in np.ndindex(*strides):
        parts = [jnp.zeros(lengths, x.dtype)]
        for entry, offset in zip(x, offsets, strict=True):
            if tuple(offset % strides) == phase:
                first = offset // strides
                borders = zip(first, lengths - first - entry.shape, strict=True)
                parts.append(lax.pad(entry, np.zeros((), x.dtype), [(int(before), int(after), 0) for before, after in borders]))
        phases.append(sum(parts))
    by_phase = jnp.stack(phases).reshape(*strides, *lengths)
    rank = len(size)
    interleaved = by_phase.transpose([axis for pair in zip(range(rank, 2 * rank), range(rank), strict=True) for axis in pair])
    return lax.slice(interleaved.reshape(lengths * strides), [0] * rank, size)


def _transpose(ct, x, *, solve, **grid):
    back = {"entries": "padded", "padded": "entries"}[solve]
    shape = x.aval.shape if solve == "entries" else x.aval.shape[1:]
    return windows_p.bind(ct, **grid | {"solve": back, "size": shape})


def _batched(operands, axes, *, solve, size, **grid):
    """The mapped axis becomes one that windows of a single entry slide along."""
    (x,), (axis,) = operands, axes
    first = int(solve == "padded")
    x, grid = jnp.moveaxis(x, axis, first), {name: (1, *values) for name, values in grid.items()}
    return windows_p.bind(x, solve=solve, size=(x.shape[first], *size), **grid), 1 - first


def _abstract(x, *, solve, size, window, **_):
    return x.update(shape=(math.prod(window), *size) if solve == "entries" else size)


define(
    windows_p,
    _solved,
    _abstract,
    _batched,
    static=("solve", "size", "window", "strides", "dilation"),
    transposes=(_transpose,),
    on={"cpu": noinline(_solved)},
)
