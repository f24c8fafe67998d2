"""Windowed forms of convolutions with constant kernels."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.rules.windowed.form import Step, derived, stepped, transposed


def convolved(operands, *, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **params) -> Any:
    """The windowed form of conv_general_dilated with a constant kernel."""
    image, kernel = operands
    if params["batch_group_count"] != 1:
        return None
    lhs, rhs, out = dimension_numbers
    steps: list[Step | None] = [None] * image.value.ndim
    for i, (stride, dilation, (low, _)) in enumerate(zip(window_strides, rhs_dilation, padding, strict=True)):
        extent = (kernel.shape[rhs[2 + i]] - 1) * dilation + 1
        steps[lhs[2 + i]] = Step(out[2 + i], stride, extent, -low)
    kinds = {"window_strides": window_strides, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    kinds |= {"dimension_numbers": dimension_numbers, "feature_group_count": params["feature_group_count"]}

    def pull(functional):
        own = [(0, 0) if functional.frame[out[2 + i]] is not None else padding[i] for i in range(len(padding))]
        return transposed(functional, lambda d: lax.conv_general_dilated(d, kernel, padding=own, **kinds))

    return stepped(steps, pull=pull, whole=[out[2 + i] for i, d in enumerate(lhs_dilation) if d != 1])


def convolved_with_channels_last(operands, *, primitive, size, taps, strides, padding, dilation, **params) -> Any:
    """The windowed form of `kernels.convolution`."""
    sides = zip(strides, taps, dilation, padding, strict=True)
    steps = [Step(1 + i, s, (t - 1) * d + 1, -low) for i, (s, t, d, (low, _)) in enumerate(sides)]

    def deviation(functional):
        frame = functional.frame[1:-1]
        own = tuple(pair if span is None else (0, 0) for pair, span in zip(padding, frame, strict=True))
        grid = {"taps": taps, "strides": strides, "padding": own, "dilation": dilation}
        return lambda d: primitive.bind(d, operands[1], size=d.shape[1:-1], **grid, **params)

    return stepped([None, *steps, None], pull=derived(deviation))


def convolved_by_channel(operands, *, primitive, taps, stride, size, **params):
    """The windowed form of `kernels.depthwise`."""
    image, kernel = operands
    rank = image.value.ndim
    steps: list[Step | None] = [None] * rank
    ends = [(min(o), max(o)) for o in zip(*taps, strict=True)]
    for i, (low, high) in enumerate(ends):
        steps[rank - 2 + i] = Step(rank - 1 + i, stride, high - low + 1, low)

    def deviation(functional):
        shifts = [low if span is not None else 0 for span, (low, _) in zip(functional.frame[-2:], ends, strict=True)]
        moved = tuple(tuple(o - s for o, s in zip(tap, shifts, strict=True)) for tap in taps)
        counts = functional.rows.shape[-2:]

        def local(d):
            result = primitive.bind(d, kernel, taps=moved, stride=stride, size=d.shape[-2:], **params)
            return result[..., : counts[0], : counts[1]]

        return local

    def pull(functional):
        """A product with one matrix for each channel, if windows are so small that it is faster than shifted sums."""
        (frame,) = functional.node.operation.windowed.reach(functional.frame)
        spans = [span for span in frame[-2:] if span is not None]
        if len(spans) < 2 or math.prod(span.size for span in spans) > 8 * len(taps):
            return transposed(functional, deviation(functional))
        shifts = []
        for side, (span, (low, _)) in enumerate(zip(spans, ends, strict=True)):
            entries = (
                stride * np.arange(functional.rows.shape[side - 2])[None] + np.array([tap[side] - low for tap in taps])[:, None]
            )
            shifts.append((entries[..., None] == np.arange(span.size)).astype(kernel.dtype))  # [tap, entry, entry of the image]
        matrices = jnp.einsum("tgmc,thy,twx->gmchwyx", kernel, *shifts)
        return [jnp.einsum("gmcrbhw,gmchwyx->gcrbyx", functional.rows, matrices)]

    return stepped(steps, pull=pull)


def mixed(operands, *, primitive, **params):
    """The windowed form of `kernels.pointwise`."""
    rank = operands[0].value.ndim
    steps = [Step(i) if i >= rank - 2 else None for i in range(rank)]
    return stepped(steps, pull=derived(lambda _: lambda d: primitive.bind(d, operands[1], **params)))
