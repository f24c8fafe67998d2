"""Depthwise convolution as one fusion of XLA's, to which `kernels.depthwise` lowers on accelerators.

A sum of shifted products, written so that XLA's GPU compiler makes one kernel of it (of the gradient by the kernel: two), which
reads and writes each array once, whatever the order of its axes. The library's convolution wants the batch first, a
transposition before and one after; and one grid of taps for all kernels, 81 of them where a supernet's have 9 or 25. Here each
kernel computes its own taps alone, its `support`.

Three things keep it one fusion (`make gpu-compile` shows it): a window is one slice of the padded array, in all axes at once,
since a slice that several windows share becomes a copy; kernels of one support go together; and the windows of the gradient by
the kernel are a concatenation, of which XLA computes the part that it needs.

Shapes, names and types as in `kernels.depthwise`; sums are in float32 or wider.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.mixed_precision import wide, wide_type

Support = tuple[tuple[tuple[int, ...], ...], ...]
"""[group][multiple]: the numbers of the taps at which a kernel may differ from zero."""

Image = Float[Array, "group channel batch height width"]
Kernel = Float[Array, "tap group multiple channel"]
Output = Float[Array, "group multiple channel batch height_out width_out"]


def output(image: Image, kernel: Kernel, *, taps: Sequence[tuple[int, int]], stride: int, size, support: Support) -> Output:
    """The convolution of `image` by `kernel`."""
    window = _windows(image, taps, stride, size)

    def sums(groups, multiples, used):
        return sum(window(tap, groups)[:, None] * _weights(kernel, tap, groups, multiples) for tap in used)

    return _by_blocks(sums, support).astype(image.dtype)


def image(output: Output, kernel: Kernel, *, taps: Sequence[tuple[int, int]], stride: int, size, support: Support) -> Image:
    """The gradient by the image: each output is spread over the pixels that it came from."""
    margin = _margin(taps)
    far = [n + margin - 1 - stride * (m - 1) for n, m in zip(size, output.shape[-2:], strict=True)]
    padded = _padded(output, [(margin, f, stride - 1) for f in far])

    def spread(place):
        """The share of each kernel's tap number `place` in every pixel, [group, multiple, channel, batch, height, width]."""

        def maps(groups, multiples, used):
            if place >= len(used):
                return jnp.zeros(_block(groups, multiples, (*output.shape[2:4], *size)), padded.dtype)
            starts = [margin - offset for offset in taps[used[place]]]
            return _part(padded, groups, multiples, starts, size) * _weights(kernel, used[place], groups, multiples)

        return _by_blocks(maps, support)

    # XLA makes a reduction of one sum, but a loop of sums for each support, which takes longer to compile.
    total: Any = sum(map(spread, _places(support)))
    return total.sum(1).astype(output.dtype)


def kernel(image: Image, output: Output, *, taps: Sequence[tuple[int, int]], stride: int, size, support: Support) -> Kernel:
    """The gradient by the kernel; zero outside of its support."""
    window = _windows(image, taps, stride, size)
    channels = image.shape[1]

    def shifted(place):
        """The image as tap number `place` of each kernel sees it, or zero: [group, multiple, channel, batch, height', width']."""

        def windows(groups, multiples, used):
            shape = _block(groups, multiples, output.shape[2:])
            if place >= len(used):
                return jnp.zeros(shape, wide_type(image.dtype))
            return jnp.broadcast_to(window(used[place], groups)[:, None], shape)

        return _by_blocks(windows, support)

    sums = (jnp.stack(list(map(shifted, _places(support)))) * wide(output)[None]).sum((-3, -2, -1))
    index = np.full((len(taps), *sums.shape[1:3]), -1)
    for (place, group, multiple), number in np.ndenumerate(np.arange(sums.size // channels).reshape(sums.shape[:3])):
        if place < len(support[group][multiple]):
            index[support[group][multiple][place], group, multiple] = number
    return gather_rows(sums.reshape(-1, channels), index)


def _margin(taps):
    return max(abs(offset) for tap in taps for offset in tap)


def _padded(maps, borders):
    maps = wide(maps)
    return lax.pad(maps, np.zeros((), maps.dtype), [(0, 0, 0)] * (maps.ndim - 2) + borders)


def _windows(image, taps, stride, size):
    """(tap, groups) -> [group, channel, batch, height', width'], the image as the tap sees it."""
    margin = _margin(taps)
    padded = _padded(image, [(margin, margin, 0)] * 2)
    reach = [stride * (-(-n // stride) - 1) + 1 for n in size]

    def window(tap, groups):
        return _part(padded, groups, None, [margin + offset for offset in taps[tap]], reach, stride)

    return window


def _part(maps, groups: slice, multiples: slice | None, starts, reach, stride=1):
    """One slice of maps [group, (multiple,) ..., height, width], in all axes at once."""
    first, last = [0] * maps.ndim, list(maps.shape)
    first[0], last[0] = groups.start, groups.stop
    if multiples is not None:
        first[1], last[1] = multiples.start, multiples.stop
    first[-2:], last[-2:] = starts, [start + n for start, n in zip(starts, reach, strict=True)]
    return lax.slice(maps, first, last, [1] * (maps.ndim - 2) + [stride] * 2)


def _weights(kernel, tap, groups, multiples):
    """[group, multiple, channel, 1, 1, 1]."""
    first, last = (tap, groups.start, multiples.start, 0), (tap + 1, groups.stop, multiples.stop, kernel.shape[3])
    return lax.slice(kernel, first, last)[0, ..., None, None, None]


def _runs(row: Sequence[Any]) -> Iterator[tuple[tuple[int, int], Any]]:
    """((first, end), value) of neighbours that are equal."""
    first = 0
    for value, equal in itertools.groupby(row):
        end = first + len(list(equal))
        yield (first, end), value
        first = end


def _places(support: Support) -> range:
    """Numbers of the taps within the support of a kernel, up to those of the largest."""
    return range(max(len(used) for row in support for used in row))


def _block(groups: slice, multiples: slice, rest: Sequence[int]) -> tuple[int, ...]:
    return groups.stop - groups.start, multiples.stop - multiples.start, *rest


def _by_blocks(f, support: Support):
    """f(groups, multiples, used) of every block of kernels that have one support, put together along both axes."""
    rows = []
    for groups, row in _runs(support):
        rows.append(jnp.concatenate([f(slice(*groups), slice(*multiples), used) for multiples, used in _runs(row)], 1))
    return jnp.concatenate(rows)
