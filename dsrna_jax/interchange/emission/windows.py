"""Primitives of JAX on windows as nodes of ONNX: convolutions, the project's own among them, and pools."""

import math

import numpy as np

from dsrna_jax.interchange.emission.graph_writer import Emission, GraphWriter, Shapes, Tensor, Value


def _pointwise(writer: GraphWriter, params, operands: list[Value], shapes: Shapes) -> list[Tensor]:
    """The product of matrices [..., channel out, channel] and pixels [..., channel, batch * height * width]."""
    image, kernel = writer.whole(operands[0]), writer.whole(operands[1])
    _check_solves_output(params)
    *stack, channels = image.shape[:-3]
    pixels = math.prod(image.shape[-3:])
    flat = writer.reshaped(image, (*stack, channels, pixels))
    return [writer.reshaped(writer.value("MatMul", [kernel, flat], (*stack, kernel.shape[-2], pixels)), shapes[0])]


def _check_solves_output(params) -> None:
    if params["solve"] != "output":
        raise NotImplementedError("a derivative")


def _depthwise(writer: GraphWriter, params, operands: list[Value], shapes: Shapes) -> list[Tensor]:
    """A convolution of [batch, group * channel, height, width] with a group for each channel."""
    image, kernel = writer.whole(operands[0]), operands[1]
    _check_solves_output(params)
    if not isinstance(kernel, np.ndarray):
        raise NotImplementedError("a kernel that depends on the input")
    groups, channels, batch, height, width = image.shape
    taps, multiples = np.array(params["taps"]), kernel.shape[2]
    first, step = taps.min(0), [_spacing(axis) for axis in taps.T]
    places = (taps - first) // step
    dense = np.zeros((groups, channels, multiples, *places.max(0) + 1), kernel.dtype)
    for (row, column), weights in zip(places, kernel, strict=True):  # taps that occur twice add up
        dense[..., row, column] += weights.swapaxes(1, 2)
    maps = writer.reshaped(writer.transposed(image, (2, 0, 1, 3, 4)), (batch, groups * channels, height, width))
    sizes = shapes[0][-2:]
    after = [
        max((size - 1) * params["stride"] + last - (n - 1), 0)
        for size, last, n in zip(sizes, taps.max(0), (height, width), strict=True)
    ]
    starts = first
    if (starts > 0).any():
        raise NotImplementedError("taps on one side")
    result = writer.value(
        "Conv", [maps, dense.reshape(-1, 1, *dense.shape[3:])], (batch, groups * channels * multiples, *sizes),
        group=groups * channels, strides=[params["stride"]] * 2, dilations=[int(s) for s in step],
        pads=[int(-starts[0]), int(-starts[1]), int(after[0]), int(after[1])],
    )  # fmt: skip
    parts = writer.reshaped(result, (batch, groups, channels, multiples, *sizes))
    return [writer.transposed(parts, (1, 3, 2, 0, 4, 5))]


def _spacing(offsets: np.ndarray) -> int:
    """The largest step that leads to all offsets along an axis."""
    return max(math.gcd(*(int(o) for o in offsets - offsets.min())), 1)


def _convolution(writer: GraphWriter, params, operands: list[Value], shapes: Shapes) -> list[Tensor]:
    numbers = params["dimension_numbers"]
    if params["batch_group_count"] != 1:
        raise NotImplementedError("groups of examples")
    maps, kernel = writer.transposed(operands[0], numbers.lhs_spec), operands[1]
    if isinstance(kernel, np.ndarray):
        kernel = np.transpose(kernel, numbers.rhs_spec)
    else:
        kernel = writer.transposed(kernel, numbers.rhs_spec)
    low, high = zip(*params["padding"], strict=True)
    if any(d != 1 for d in params["lhs_dilation"]):
        result = _transposed_convolution(writer, params, maps, kernel, [shapes[0][i] for i in numbers.out_spec])
        return [writer.transposed(result, [numbers.out_spec.index(i) for i in range(len(shapes[0]))])]
    if min(*low, *high) < 0:
        raise NotImplementedError("negative padding")
    result = writer.value(
        "Conv", [maps, kernel], [shapes[0][i] for i in numbers.out_spec], group=params["feature_group_count"],
        strides=list(params["window_strides"]), dilations=list(params["rhs_dilation"]), pads=[*map(int, low), *map(int, high)],
    )  # fmt: skip
    return [writer.transposed(result, [numbers.out_spec.index(i) for i in range(len(shapes[0]))])]


def _transposed_convolution(writer, params, maps, kernel, shape) -> Tensor:
    """A convolution of maps with zeros between their entries: ConvTranspose, whose kernel is turned around."""
    groups, strides, dilations = params["feature_group_count"], params["lhs_dilation"], params["rhs_dilation"]
    if not isinstance(kernel, np.ndarray) or any(step != 1 for step in params["window_strides"]):
        raise NotImplementedError("a transposed convolution by a kernel that depends on the input, or with strides too")
    outputs, inputs, *sides = kernel.shape
    turned = np.flip(kernel, tuple(range(2, kernel.ndim))).reshape(groups, outputs // groups, inputs, *sides)
    turned = turned.swapaxes(1, 2).reshape(groups * inputs, outputs // groups, *sides)
    reach = [dilation * (side - 1) for dilation, side in zip(dilations, sides, strict=True)]
    before, after = ([r - pair[i] for r, pair in zip(reach, params["padding"], strict=True)] for i in (0, 1))
    extra = [max(-cut, 0) for cut in after]
    if min(before) < 0 or any(e >= max(pair) for e, *pair in zip(extra, strides, dilations, strict=True)):
        raise NotImplementedError("a transposed convolution with padding beyond its kernel")
    return writer.value(
        "ConvTranspose", [maps, turned], shape, group=groups, strides=list(strides), dilations=list(dilations),
        pads=[*map(int, before), *(max(int(cut), 0) for cut in after)], output_padding=[int(e) for e in extra],
    )  # fmt: skip


def _pool(operator: str) -> Emission:
    """A pool over the axes along which windows are longer than 1, or move."""

    def emit(writer, params, operands, shapes):
        value = writer.whole(operands[0])
        window, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
        dilation = params["window_dilation"]
        moved = [i for i, n in enumerate(window) if n > 1 or strides[i] > 1 or padding[i] != (0, 0)]
        if any(d != 1 for d in params["base_dilation"]) or len(moved) > 3 or any(value.shape[i] < 0 for i in moved):
            raise NotImplementedError("windows over four axes, or over the batch")
        moved = moved or [len(window) - 1]
        fixed = [i for i in range(len(window)) if i not in moved]
        order = [*fixed, *moved]
        maps = writer.transposed(value, order)
        sizes, results = [value.shape[i] for i in moved], [shapes[0][i] for i in moved]
        count = math.prod(value.shape[i] for i in fixed)
        low, high = zip(*(padding[i] for i in moved), strict=True)
        attributes = {"strides": [strides[i] for i in moved], "pads": [*map(int, low), *map(int, high)]}
        attributes["kernel_shape"] = kernel = [window[i] for i in moved]
        if any(dilation[i] != 1 for i in moved):
            raise NotImplementedError("dilated windows")
        if operator == "AveragePool":
            attributes["count_include_pad"] = 1
        pooled = writer.value(operator, [writer.reshaped(maps, (count, 1, *sizes))], (count, 1, *results), **attributes)
        if operator == "AveragePool":
            pooled = writer.value("Mul", [pooled, np.array(math.prod(kernel), np.float32)], pooled.shape)
        parts = writer.reshaped(pooled, [shapes[0][i] for i in order])
        return [writer.transposed(parts, [order.index(i) for i in range(len(order))])]

    return emit


EMISSIONS: dict[str, Emission] = {
    "conv_general_dilated": _convolution,
    "depthwise": _depthwise,
    "pointwise": _pointwise,
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool"),
}
