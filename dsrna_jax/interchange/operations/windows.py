"""ONNX operations on windows that slide over maps [batch, channel, ...]: convolutions and pools of any number of dimensions.

Local response normalisation, whose window slides over the channels, is one of them.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation, first_is_batched

_AXES = "DHW"


def _paddings(node, sizes, kernel, strides, dilations, ceil=False) -> list[tuple[int, int]]:
    """(before, after) of each spatial axis, by pads or auto_pad; with `ceil`, what the last, partial windows need is added."""
    auto, rank = node.get("auto_pad", "NOTSET"), len(sizes)
    reach = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        wholes = [max((math.ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(sizes, strides, reach, strict=True)]
        halves = [(whole // 2, whole - whole // 2) for whole in wholes]
        return halves if auto == "SAME_UPPER" else [(after, before) for before, after in halves]
    if auto not in ("NOTSET", "VALID", ""):
        raise InputError(f"auto_pad={auto!r}: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    given = [0] * 2 * rank if auto == "VALID" else list(node.get("pads") or [0] * 2 * rank)
    pairs = [(before, after) for before, after in zip(given[:rank], given[rank:], strict=True)]
    return [_with_partial(*each) for each in zip(pairs, sizes, reach, strides, strict=True)] if ceil else pairs


def _with_partial(pair, size, reach, stride):
    """The padding with which a last window that starts inside the map, or in the padding before it, is whole."""
    before, after = pair
    windows = math.ceil((size + before + after - reach) / stride) + 1
    if (windows - 1) * stride >= size + before:  # it would see nothing of the map
        windows -= 1
    return before, max(after, (windows - 1) * stride + reach - size - before)


def _settings(node, kernel):
    rank = len(kernel)
    return tuple(node.get("strides") or [1] * rank), tuple(node.get("dilations") or [1] * rank)


def _layout(rank: int) -> tuple[str, str, str]:
    """The axes of maps and kernels of that many spatial axes; at most three have names."""
    if not 1 <= rank <= len(_AXES):
        raise InputError(f"{rank} spatial axes: expected 1, 2 or 3")
    return f"NC{_AXES[-rank:]}", f"OI{_AXES[-rank:]}", f"NC{_AXES[-rank:]}"


def _convolution(node, x, kernel, bias=None):
    sizes = kernel.shape[2:]
    strides, dilations = _settings(node, sizes)
    y = lax.conv_general_dilated(
        x, kernel, strides, _paddings(node, x.shape[2:], sizes, strides, dilations),
        rhs_dilation=dilations, dimension_numbers=_layout(len(sizes)), feature_group_count=node.get("group", 1),
    )  # fmt: skip
    return y if bias is None else y + bias.reshape(1, -1, *[1] * len(sizes))


def _cuts(node, wholes, same) -> list[int]:
    """The entries that a transposed convolution cuts off its map of lengths `wholes`, before and then after each axis."""
    auto, rank = node.get("auto_pad", "NOTSET"), len(wholes)
    lengths = node.get("output_shape") or (same if auto in ("SAME_UPPER", "SAME_LOWER") else None)
    if lengths is None:
        return list(node.get("pads") or [0] * 2 * rank)
    cuts = [whole - length for whole, length in zip(wholes, lengths[-rank:], strict=True)]
    less, more = [cut // 2 for cut in cuts], [cut - cut // 2 for cut in cuts]
    return less + more if auto == "SAME_UPPER" else more + less


def _transposed_convolution(node, x, kernel, bias=None):
    sizes, groups = kernel.shape[2:], node.get("group", 1)
    strides, dilations = _settings(node, sizes)
    rank = len(sizes)
    extra = node.get("output_padding") or [0] * rank
    reach = [dilation * (k - 1) for k, dilation in zip(sizes, dilations, strict=True)]
    wholes = [stride * (n - 1) + r + 1 + e for stride, n, r, e in zip(strides, x.shape[2:], reach, extra, strict=True)]
    pads = _cuts(node, wholes, [n * stride for n, stride in zip(x.shape[2:], strides, strict=True)])
    padding = [(reach[i] - pads[i], reach[i] - pads[rank + i] + extra[i]) for i in range(rank)]
    inputs, outputs = kernel.shape[:2]
    grouped = kernel.reshape(groups, inputs // groups, outputs, *sizes)
    turned = jnp.flip(jnp.moveaxis(grouped, 2, 1).reshape(groups * outputs, inputs // groups, *sizes), range(2, 2 + rank))
    y = lax.conv_general_dilated(
        x, turned, (1,) * rank, padding, lhs_dilation=strides, rhs_dilation=dilations,
        dimension_numbers=_layout(rank), feature_group_count=groups,
    )  # fmt: skip
    return y if bias is None else y + bias.reshape(1, -1, *[1] * rank)


def _pool(node, x, operation, start):
    """The pool of each window, and the padding that it was taken with."""
    kernel = tuple(node.get("kernel_shape"))
    strides, dilations = _settings(node, kernel)
    padding = _paddings(node, x.shape[2:], kernel, strides, dilations, bool(node.get("ceil_mode", 0)))
    pooled = lax.reduce_window(
        x, start, operation, (1, 1, *kernel), (1, 1, *strides), [(0, 0), (0, 0), *padding], window_dilation=(1, 1, *dilations)
    )
    return pooled, padding


def _max_pool(node, x):
    if len(node.outputs) > 1 and node.outputs[1]:
        raise InputError("the places of the maxima, its second output, are not read")
    return _pool(node, x, lax.max, np.array(-np.inf, x.dtype)[()])[0]


def _average_pool(node, x):
    total, padding = _pool(node, x, lax.add, np.zeros((), x.dtype)[()])
    return total * _inverse_counts(node, x.shape[2:], padding, total.shape[2:]).astype(x.dtype)[None, None]


def _length(total):
    """The p-norm of what `total` sums: of each window, padded with zeros, or of the whole map."""

    def apply(node, x):
        p = node.get("p", 2)
        if p == 2:
            return jnp.sqrt(total(node, x * x))
        return total(node, jnp.abs(x) ** p) ** (1 / p)

    return apply


def _window_total(node, x):
    return _pool(node, x, lax.add, np.zeros((), x.dtype)[()])[0]


def _inverse_counts(node, sizes, padding, windows) -> np.ndarray:
    """1 / the number of entries that each window averages: of the map, and of its explicit padding with count_include_pad."""
    kernel = tuple(node.get("kernel_shape"))
    strides, dilations = _settings(node, kernel)
    stated = _paddings(node, sizes, kernel, strides, dilations)
    counts = np.ones(())
    for axis, (before, _) in enumerate(padding):
        low, high = (-stated[axis][0], sizes[axis] + stated[axis][1]) if node.get("count_include_pad", 0) else (0, sizes[axis])
        starts = np.arange(windows[axis])[:, None] * strides[axis] - before
        entries = starts + np.arange(kernel[axis]) * dilations[axis]
        counts = counts[..., None] * ((low <= entries) & (entries < high)).sum(1)
    return 1 / counts


def _local_response_normalization(node, x):
    size = node.get("size")
    before = (size - 1) // 2
    windows = (1, size, *[1] * (x.ndim - 2))
    padding = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = lax.reduce_window(x * x, np.zeros((), x.dtype)[()], lax.add, windows, (1,) * x.ndim, padding)
    return x * (node.get("bias", 1.0) + node.get("alpha", 1e-4) / size * squares) ** -node.get("beta", 0.75)


def _over_the_map(operation):
    return lambda node, x: operation(x, axis=tuple(range(2, x.ndim)), keepdims=True)


OPERATIONS = {
    "AveragePool": OnnxOperation(_average_pool, first_is_batched),
    "Conv": OnnxOperation(_convolution, first_is_batched),
    "ConvTranspose": OnnxOperation(_transposed_convolution, first_is_batched),
    "GlobalAveragePool": OnnxOperation(_over_the_map(jnp.mean), first_is_batched),
    "GlobalMaxPool": OnnxOperation(_over_the_map(jnp.max), first_is_batched),
    "GlobalLpPool": OnnxOperation(_length(_over_the_map(jnp.sum)), first_is_batched),
    "LRN": OnnxOperation(_local_response_normalization, first_is_batched),
    "LpPool": OnnxOperation(_length(_window_total), first_is_batched),
    "MaxPool": OnnxOperation(_max_pool, first_is_batched),
}
