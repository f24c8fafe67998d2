"""Windowed forms of pools: sums over windows, and the entries of windows."""

from collections.abc import Callable

import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Windowed
from dsrna_jax.bounds.rules.windowed.form import Step, derived, stepped


def pooled(operands, *, window_dimensions, window_strides, padding, base_dilation, window_dilation, **_):
    """The windowed form of reduce_window_sum."""
    grid = zip(window_strides, window_dimensions, window_dilation, padding, strict=True)
    steps = [Step(i, stride, (size - 1) * d + 1, -low) for i, (stride, size, d, (low, _)) in enumerate(grid)]

    def deviation(functional):
        own = [(0, 0) if span is not None else pads for pads, span in zip(padding, functional.frame, strict=True)]
        return lambda d: lax.reduce_window(
            d, np.zeros((), d.dtype), lax.add, window_dimensions, window_strides, own, base_dilation, window_dilation
        )

    return stepped(steps, pull=derived(deviation), whole=[i for i, d in enumerate(base_dilation) if d != 1])


def entries_of_windows(move: Callable, *, window, strides, padding, base_dilation, dilation) -> Windowed:
    """The windowed form of `kernels.windows`, with `move` a function of an array and of its parameters."""
    grid = zip(strides, window, dilation, padding, strict=True)
    steps = [Step(i + 1, stride, (size - 1) * d + 1, -low) for i, (stride, size, d, (low, _)) in enumerate(grid)]

    def deviation(functional):
        own = [(0, 0) if span is not None else pads for pads, span in zip(padding, functional.frame[1:], strict=True)]
        kinds = {"window": window, "strides": strides, "base_dilation": base_dilation, "dilation": dilation}
        return lambda d: move(d, padding=own, **kinds)

    return stepped(steps, pull=derived(deviation), whole=[0, *(i + 1 for i, d in enumerate(base_dilation) if d != 1)])
