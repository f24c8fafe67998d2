"""Convolution of maps with channels last, as a primitive whose derivatives are as fast as itself.

XLA's CPU compiler is fast at convolutions of maps with channels last by kernels that it need not reverse. It brings others to
that form, but not within loops, such as those of attacks and bounds, where those of autodiff's derivatives, which reverse
kernels, take many times as long (`python -m experiments.benchmark --what=kernels`). As in `depthwise`, the three arrays are tied
by one trilinear form,

    sum  output[b, p, o] * kernel[t, i, o] * image[b, stride * p + dilation * t - low, i]        for positions p and taps t

and a bilinear primitive with a `solve` parameter, which writes each of the three as a convolution in the fast form, is closed
under differentiation of any order and mode.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from dsrna_jax.kernels.lowering import (
    ACCELERATORS,
    at_full_precision,
    define,
    matmul_precision,
    takes_precision,
    trilinear_transposes,
)
from dsrna_jax.kernels.mixed_precision import operands, wide, wide_type

convolution_p = Primitive("convolution")


def convolution(
    image: Float[Array, "batch *pixels channel"],
    kernel: Float[Array, "*taps channel channel_out"],
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Float[Array, "batch *positions channel_out"]:
    """`lax.conv_general_dilated` of maps with channels last, in any number of dimensions.

    Args:
      strides, padding, dilation: of each dimension, as `window_strides`, `padding` and `rhs_dilation` there.
    Returns: [batch, *positions, channel out], in the type of the image if that has 16 bits.
    """
    grid: dict[str, Any] = {"size": image.shape[1:-1], "taps": kernel.shape[:-2], "strides": tuple(strides)}
    grid |= {"padding": tuple(map(tuple, padding)), "dilation": tuple(dilation), "precision": matmul_precision()}
    return convolution_p.bind(*operands(image, kernel), solve="output", **grid)


def transposed_convolution(
    maps: Float[Array, "batch *positions channel"],
    kernel: Float[Array, "*taps channel channel_out"],
    *,
    spread: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Float[Array, "batch *pixels channel_out"]:
    """`lax.conv_general_dilated` of maps that are spread out, with channels last and strides of 1.

    Args:
      spread, padding, dilation: of each dimension, as `lhs_dilation`, `padding` and `rhs_dilation` there.
    Returns: [batch, *pixels, channel out], in the type of the maps if that has 16 bits.
    """
    size, borders = [], []
    for m, t, s, (low, high), d in zip(maps.shape[1:-1], kernel.shape[:-2], spread, padding, dilation, strict=True):
        reach, beyond = (m - 1) * s + 1, (t - 1) * d
        size.append(max(0, reach + low + high - beyond))
        borders.append((beyond - low, beyond - high))
    grid: dict[str, Any] = {"size": tuple(size), "taps": kernel.shape[:-2], "strides": tuple(spread)}
    grid |= {"padding": tuple(borders), "dilation": tuple(dilation), "precision": matmul_precision()}
    return convolution_p.bind(*operands(maps, _reversed(kernel)), solve="image", **grid)


def positions_of(*, size, taps, strides, padding, dilation) -> tuple[int, ...]:
    """The shape of the output's maps."""
    sides = zip(size, taps, strides, padding, dilation, strict=True)
    return tuple(max(0, (n + low + high - (t - 1) * d - 1) // s + 1) for n, t, s, (low, high), d in sides)


def _convolved(image, kernel, *, strides, padding, spread=None, dilation):
    """The library's convolution, with channels last; spread: distance of the image's pixels."""
    rank = len(strides)
    maps, rows = (0, rank + 1, *range(1, rank + 1)), (rank + 1, rank, *range(rank))
    numbers = lax.ConvDimensionNumbers(maps, rows, maps)
    return lax.conv_general_dilated(
        image, kernel, strides, padding, lhs_dilation=spread, rhs_dilation=dilation, dimension_numbers=numbers
    )


def _reversed(kernel):
    """The kernel of the transposed operation."""
    return jnp.swapaxes(lax.rev(kernel, range(kernel.ndim - 2)), -1, -2)


def _output(image, kernel, *, size, taps, strides, padding, dilation):
    return _convolved(image, kernel, strides=strides, padding=padding, dilation=dilation)


def _image(output, kernel, *, size, taps, strides, padding, dilation):
    """The output's pixels, `strides` apart, convolved with the reversed kernel."""
    borders = []
    for n, m, t, s, (low, _), d in zip(size, output.shape[1:-1], taps, strides, padding, dilation, strict=True):
        borders.append(((t - 1) * d - low, n + low - (m - 1) * s - 1))
    return _convolved(output, _reversed(kernel), strides=(1,) * len(taps), padding=borders, spread=strides, dilation=dilation)


def _kernel(image, output, *, size, taps, strides, padding, dilation):
    """The image convolved with the output, whose pixels are taps `strides` apart: images are channels, and channels images."""
    borders = []
    for n, m, t, s, (low, _), d in zip(size, output.shape[1:-1], taps, strides, padding, dilation, strict=True):
        borders.append((low, (t - 1) * d + (m - 1) * s + 1 - n - low))
    image = lax.pad(image, np.zeros((), image.dtype), [(0, 0, 0), *((0, min(high, 0), 0) for _, high in borders), (0, 0, 0)])
    result = _convolved(
        jnp.swapaxes(image, 0, -1),
        jnp.moveaxis(output, 0, -2),
        strides=dilation,
        padding=[(low, max(high, 0)) for low, high in borders],
        dilation=strides,
    )
    return jnp.moveaxis(result, 0, -2)


# With one position, or one tap, a convolution is a matrix product.


def _met(image, *, size, taps, strides, padding, dilation):
    """The pixels that the only tap meets, or the only position."""
    counts, steps, borders = _grid_of_pixels(size, taps, strides, padding, dilation)
    padded = lax.pad(image, np.zeros((), image.dtype), [(0, 0, 0), *((-low, -high, 0) for low, high in borders), (0, 0, 0)])
    reach = [(count - 1) * step + 1 for count, step in zip(counts, steps, strict=True)]
    return lax.slice(padded, [0] * padded.ndim, (len(image), *reach, image.shape[-1]), (1, *steps, 1))


def _placed(pixels, *, size, taps, strides, padding, dilation):
    """The transpose of `_met`."""
    _, steps, borders = _grid_of_pixels(size, taps, strides, padding, dilation)
    inner = [(low, high, step - 1) for (low, high), step in zip(borders, steps, strict=True)]
    return lax.pad(pixels, np.zeros((), pixels.dtype), [(0, 0, 0), *inner, (0, 0, 0)])


def _grid_of_pixels(size, taps, strides, padding, dilation):
    """Counts and steps of the pixels that are met, and how many lie before and after them, less than 0 beyond the image."""
    positions = positions_of(size=size, taps=taps, strides=strides, padding=padding, dilation=dilation)
    counts, steps = (taps, dilation) if math.prod(positions) == 1 else (positions, strides)
    sides = zip(size, counts, steps, padding, strict=True)
    return counts, steps, [(-low, n + low - (count - 1) * step - 1) for n, count, step, (low, _) in sides]


def _output_by_product(image, kernel, **grid):
    met, outputs = _met(image, **grid), kernel.shape[-1]
    if math.prod(grid["taps"]) == 1:
        return met @ kernel.reshape(-1, outputs)
    result = met.reshape(len(met), -1) @ kernel.reshape(-1, outputs)
    return result.reshape(len(met), *[1] * len(grid["taps"]), outputs)


def _image_by_product(output, kernel, **grid):
    outputs = kernel.shape[-1]
    if math.prod(grid["taps"]) == 1:
        return _placed(output @ kernel.reshape(-1, outputs).T, **grid)
    pixels = output.reshape(-1, outputs) @ kernel.reshape(-1, outputs).T
    return _placed(pixels.reshape(len(output), *kernel.shape[:-1]), **grid)


def _kernel_by_product(image, output, **grid):
    met = _met(image, **grid)
    if math.prod(grid["taps"]) == 1:
        return jnp.einsum("...i,...o->io", met, output).reshape(*grid["taps"], image.shape[-1], -1)
    result = met.reshape(len(met), -1).T @ output.reshape(len(output), -1)
    return result.reshape(*grid["taps"], image.shape[-1], -1)


_CONVOLVED = {"output": _output, "image": _image, "kernel": _kernel}
_BY_PRODUCT = {"output": _output_by_product, "image": _image_by_product, "kernel": _kernel_by_product}


@takes_precision
def _solved(first, second, *, solve, **grid):
    """The solution on a CPU."""
    if 0 in (first.size, second.size):
        return jnp.zeros(_shape(first, second, solve, grid), wide_type(first.dtype) if solve == "kernel" else first.dtype)
    rules = _BY_PRODUCT if 1 in (math.prod(grid["taps"]), math.prod(positions_of(**grid))) else _CONVOLVED
    result = rules[solve](wide(first), wide(second), **grid)
    return result if solve == "kernel" else result.astype(first.dtype)


@takes_precision
def _by_library(first, second, *, solve, size, **grid):
    """The solution on an accelerator, whose library has derivatives of its own."""
    forward = functools.partial(_output, size=size, **grid)
    first_of, second_of = wide(first), wide(second)
    if solve == "output":
        return forward(first_of, second_of).astype(first.dtype)
    if solve == "image":
        image = jax.ShapeDtypeStruct((len(first), *size, second.shape[-2]), first_of.dtype)
        return jax.linear_transpose(lambda x: forward(x, second_of), image)(first_of)[0].astype(first.dtype)
    kernel = jax.ShapeDtypeStruct((*grid["taps"], first.shape[-1], second.shape[-1]), first_of.dtype)
    return jax.linear_transpose(lambda k: forward(first_of, k), kernel)(second_of)[0]


def _shape(first, second, solve, grid):
    if solve == "output":
        return first.shape[0], *positions_of(**grid), second.shape[-1]
    if solve == "image":
        return first.shape[0], *grid["size"], second.shape[-2]
    return *grid["taps"], first.shape[-1], second.shape[-1]


def _abstract(first, second, *, solve, precision, **grid):
    kinds = {"dtype": wide_type(first.dtype)} if solve == "kernel" else {}
    return first.update(shape=_shape(first, second, solve, grid), **kinds)


def _batched(arrays, axes, *, solve, **grid):
    """vmap: the mapped axis joins the batch if a kernel is given that is not mapped; else the convolutions are the library's."""
    if solve != "kernel" and axes[1] is None:
        first = jnp.moveaxis(arrays[0], axes[0], 0)
        result = convolution_p.bind(first.reshape(-1, *first.shape[2:]), arrays[1], solve=solve, **grid)
        return result.reshape(*first.shape[:2], *result.shape[1:]), 0
    return jax.vmap(functools.partial(_by_library, solve=solve, **grid), axes)(*arrays), 0


define(
    convolution_p,
    _solved,
    _abstract,
    _batched,
    static=("solve", "size", "taps", "strides", "padding", "dilation", "precision"),
    transposes=trilinear_transposes(convolution_p),
    on={"cpu": at_full_precision(_solved)} | dict.fromkeys(ACCELERATORS, _by_library),
)
