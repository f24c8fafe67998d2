"""Depthwise convolution of one image by many kernels, as a primitive whose derivatives stay fast on every platform.

XLA's own depthwise convolution is many times slower on a CPU than a sum of shifted products, or than one product with band
matrices where maps are narrow (`python -m experiments.benchmark --what=kernels`). The three arrays of a depthwise convolution
are tied by one trilinear form

    sum  output[g, m, c] * kernel[g, m, c, tap] * image[g, c, shifted by tap]

and each of convolution, gradient by the image and gradient by the kernel contracts two of them to give the third. One
bilinear primitive with a `solve` parameter is thus closed under differentiation of any order and mode.

Taps are any static set of (row, column) offsets, so that kernels of several sizes and dilations go together.
Shapes: image [group, channel, batch, height, width]; kernel [tap, group, multiple, channel];
output [group, multiple, channel, batch, height', width'], where height' = ceil(height / stride).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from dsrna_jax.kernels import fused_depthwise
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.lowering import (
    ACCELERATORS,
    at_full_precision,
    define,
    matmul_precision,
    noinline,
    pad_with_zeros,
    takes_precision,
    trilinear_transposes,
)
from dsrna_jax.kernels.mixed_precision import operands, wide, wide_type

depthwise_p = Primitive("depthwise")


def square_taps(side: int, dilation: int = 1) -> tuple[tuple[int, int], ...]:
    """Offsets of a square kernel, row by row: side 3 and dilation 2 give (-2, -2), (-2, 0), ..., (2, 2)."""
    reach = range(-dilation * (side // 2), dilation * (side // 2) + 1, dilation)
    return tuple((row, column) for row in reach for column in reach)


def depthwise(
    image: Float[Array, "group channel batch height width"],
    kernel: Float[Array, "tap group multiple channel"],
    taps: Sequence[tuple[int, int]],
    *,
    stride: int = 1,
    support: Sequence[Sequence[int]] | None = None,
) -> Float[Array, "group multiple channel batch height_out width_out"]:
    """Every channel of `image` convolved with its own kernels; pixels outside the image are zero.

    With `square_taps(side, dilation)` it equals `lax.conv_general_dilated` with `feature_group_count=channels` and symmetric
    padding (torch's convention).

    Args:
      image: [group, channel, batch, height, width].
      kernel: [tap, group, multiple, channel]; every channel of the image is convolved with `multiple` kernels.
      taps: (row, column) offset in pixels of each tap.
      stride: step of the output grid, in pixels.
      support: the numbers of the taps at which a kernel may differ from zero, for each of `multiple` kernels or of
        group * multiple; None for all. Accelerators compute these taps alone, and give gradient zero to the others.
    Returns: [group, multiple, channel, batch, ceil(height / stride), ceil(width / stride)], in the type of the image if that
      has 16 bits.
    Raises: ValueError if `support` is of another number of kernels.
    """
    grid = {"taps": tuple(taps), "stride": stride, "size": image.shape[-2:], "precision": matmul_precision()}
    groups, multiples = kernel.shape[1:3]
    used = [range(len(taps))] * multiples if support is None else support
    if len(used) not in (multiples, groups * multiples):
        raise ValueError(f"support: expected one for each of {multiples} kernels, or of {groups * multiples}; got {len(used)}")
    each = itertools.cycle(map(tuple, used))
    grid["support"] = tuple(tuple(itertools.islice(each, multiples)) for _ in range(groups))
    return depthwise_p.bind(*operands(image, kernel), solve="output", **grid)


def _margin(taps):
    return max(abs(offset) for tap in taps for offset in tap)


def _shifted_sum(padded, kernel, starts, size, stride=1):
    """sum over taps of kernel[tap] * padded[..., from starts[tap]]: [group, multiple, channel, batch, *size].

    padded: [group, multiple or 1, channel, batch, ...]. Broadcasting comes before slicing, so that a tap adds four operations
    to the program: there are many taps to compile.
    """
    maps = jnp.broadcast_to(padded, (*kernel.shape[1:], *padded.shape[-3:]))[None]
    weights = jnp.broadcast_to(kernel[..., None, None, None], (*kernel.shape, padded.shape[3], *size))
    total: Any = 0.0
    for tap, corner in enumerate(starts):
        ends = (start + stride * (n - 1) + 1 for start, n in zip(corner, size, strict=True))
        window = lax.slice(maps, (0,) * 5 + corner, (*maps.shape[:5], *ends), (1,) * 5 + (stride, stride))
        total = total + window * lax.slice_in_dim(weights, tap, tap + 1)
    return total[0]


def _padded(image, margin):
    return pad_with_zeros(image, [(0, 0)] * (image.ndim - 2) + [(margin, margin)] * 2)


def _output(image, kernel, *, taps, stride, size):
    margin = _margin(taps)
    starts = [(margin + row, margin + column) for row, column in taps]
    grid = [-(-n // stride) for n in size]
    return noinline(lambda k, x: _shifted_sum(_padded(x, margin)[:, None], k, starts, grid, stride))(kernel, image)


def _image(output, kernel, *, taps, stride, size):
    margin = _margin(taps)
    starts = [(margin - row, margin - column) for row, column in taps]
    far = [n + margin - 1 - stride * (m - 1) for n, m in zip(size, output.shape[-2:], strict=True)]

    def spread_sum(kernel, output):
        dilated = lax.pad(output, np.zeros((), output.dtype), [(0, 0, 0)] * 4 + [(0, 0, stride - 1)] * 2)
        return _shifted_sum(pad_with_zeros(dilated, [(0, 0)] * 4 + [(margin, f) for f in far]), kernel, starts, size)

    each = noinline(spread_sum)(kernel, output)
    groups, multiples = each.shape[:2]
    # A product with ones, because XLA's own sum over a middle axis is slow on a CPU.
    total = jnp.einsum("m,gmn->gn", jnp.ones(multiples, each.dtype), each.reshape(groups, multiples, -1))
    return total.reshape(groups, *each.shape[2:])


def _row_stacks(image, *, taps, stride, size):
    """The rows of the image that the taps of each row of the output meet: [group * channel, batch * height', row * width]."""
    margin, rows = _margin(taps), _tap_rows(taps)
    reach = stride * (-(-size[0] // stride) - 1) + 1
    padded = pad_with_zeros(image, [(0, 0)] * 3 + [(margin, margin), (0, 0)])
    stacked = jnp.stack([padded[..., margin + row : margin + row + reach : stride, :] for row in rows], axis=-2)
    groups, channels, batch, height = stacked.shape[:4]
    return stacked.reshape(groups * channels, batch * height, -1)


def _band_matrices(kernel, *, taps, stride, size):
    """Rows of the kernels as band matrices, from the rows of a stack: [group * channel, multiple * width', row * width]."""
    margin, rows = _margin(taps), _tap_rows(taps)
    width = -(-size[1] // stride)
    index = np.full((len(rows), 2 * margin + 1), -1)
    for tap, (row, column) in enumerate(taps):
        index[rows.index(row), margin + column] = tap
    filters = jnp.transpose(gather_rows(kernel, index), (2, 4, 0, 3, 1))  # [group, channel, row, multiple, column]
    # Without a gather: tile each row with period wide + stride and reshape to width wide, so that each row shifts by `stride`.
    wide = size[1] + 2 * margin
    period = lax.pad(filters, np.zeros((), filters.dtype), [(0, 0, 0)] * 4 + [(0, wide + stride - filters.shape[-1], 0)])
    tiled = jnp.broadcast_to(period[..., None, :], (*filters.shape[:4], width, wide + stride)).reshape(*filters.shape[:4], -1)
    bands = tiled[..., : width * wide].reshape(*filters.shape[:4], width, wide)[..., margin : margin + size[1]]
    groups, channels, _, multiples = bands.shape[:4]
    return jnp.transpose(bands, (0, 1, 3, 4, 2, 5)).reshape(groups * channels, multiples * width, -1)


def _tap_rows(taps):
    return sorted({row for row, _ in taps})


# One matrix product for each of the three arrays, in an order in which XLA need not transpose the stacks, the largest of all.


def _output_by_bands(image, kernel, **grid):
    groups, channels, batch = image.shape[:3]
    height, width = (-(-n // grid["stride"]) for n in grid["size"])
    each = jnp.einsum("czw,cvw->czv", _row_stacks(image, **grid), _band_matrices(kernel, **grid))
    return jnp.transpose(each.reshape(groups, channels, batch, height, -1, width), (0, 4, 1, 2, 3, 5))


def _image_by_bands(output, kernel, **grid):
    groups, multiples, channels, batch, height, width = output.shape
    each = jnp.transpose(output, (0, 2, 3, 4, 1, 5)).reshape(groups * channels, batch * height, multiples * width)
    stacks = jnp.einsum("czv,cvw->czw", each, _band_matrices(kernel, **grid))
    image = jax.ShapeDtypeStruct((groups, channels, batch, *grid["size"]), output.dtype)
    return jax.linear_transpose(lambda x: _row_stacks(x, **grid), image)(stacks)[0]


def _kernel_by_bands(image, output, **grid):
    groups, multiples, channels, batch, height, width = output.shape
    each = jnp.transpose(output, (0, 2, 1, 5, 3, 4)).reshape(groups * channels, multiples * width, batch * height)
    bands = jnp.einsum("cvz,czw->cvw", each, _row_stacks(image, **grid))
    kernel = jax.ShapeDtypeStruct((len(grid["taps"]), groups, multiples, channels), image.dtype)
    return jax.linear_transpose(lambda k: _band_matrices(k, **grid), kernel)(bands)[0]


_BANDS = {"output": _output_by_bands, "image": _image_by_bands, "kernel": _kernel_by_bands}
_SHIFTS = {"output": _output, "image": _image, "kernel": _kernel_by_bands}


_FUSED = {"output": fused_depthwise.output, "image": fused_depthwise.image, "kernel": fused_depthwise.kernel}


def _fused(first, second, *, solve, precision, **grid):
    """The solution on an accelerator, at full precision, since it has no matrix product."""
    return _FUSED[solve](first, second, **grid)


@takes_precision
def _solved(first, second, *, solve, taps, stride, size, support):
    """The solution on a CPU: by bands if they have few zeros and there are three kernels, or two and a stride, else by shifts."""
    kernels = second.shape[1 if solve == "kernel" else 2]
    are_dense = len(_tap_rows(taps)) * -(-size[1] // stride) <= 4 * len(taps)
    rules = _BANDS if are_dense and (kernels > 2 or (kernels > 1 and stride > 1)) else _SHIFTS
    result = rules[solve](wide(first), wide(second), taps=taps, stride=stride, size=size)
    return result if solve == "kernel" else result.astype(first.dtype)


def _abstract(first, second, *, solve, taps, stride, size, support, precision):
    """Shapes from a few lines of arithmetic: tracing a solver for them would slow the tracing of a search step."""
    if solve == "output":
        (groups, channels, batch, *_), multiples = first.shape, second.shape[2]
        shape = (groups, multiples, channels, batch, *(-(-n // stride) for n in size))
    elif solve == "image":
        groups, _, channels, batch, *_ = first.shape
        shape = (groups, channels, batch, *size)
    else:
        return first.update(shape=(len(taps), *second.shape[:3]), dtype=wide_type(first.dtype))
    return first.update(shape=shape)


_GROUP_AXIS = {"image": 0, "output": 0, "kernel": 1}
_OPERANDS = {"output": ("image", "kernel"), "image": ("output", "kernel"), "kernel": ("image", "output")}
_BATCH_AXIS = {"image": 2, "output": 3}


def _batched(operands, axes, *, solve, support, **grid):
    """vmap: the mapped axis joins the batch if a kernel is given that is not mapped, else the groups."""
    names, count = _OPERANDS[solve], next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    by_batch = "kernel" in names and axes[1] is None
    into = _BATCH_AXIS if by_batch else _GROUP_AXIS

    def folded(name, operand, axis):
        if axis is None and by_batch:
            return operand
        operand = jnp.broadcast_to(operand, (count, *operand.shape)) if axis is None else jnp.moveaxis(operand, axis, 0)
        target = into[name]
        shape = list(operand.shape[1:])
        shape[target] *= count
        return jnp.moveaxis(operand, 0, target).reshape(shape)

    support = support if by_batch else support * count
    result = depthwise_p.bind(*map(folded, names, operands, axes), solve=solve, support=support, **grid)
    axis = into[solve]
    return result.reshape(*result.shape[:axis], count, -1, *result.shape[axis + 1 :]), axis


define(
    depthwise_p,
    _solved,
    _abstract,
    _batched,
    static=("solve", "taps", "stride", "size", "support", "precision"),
    transposes=trilinear_transposes(depthwise_p),
    on={"cpu": at_full_precision(_solved)} | dict.fromkeys(ACCELERATORS, _fused),
)
