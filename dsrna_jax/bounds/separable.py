"""Batch separability of primitives, decided from their parameters before anything runs.

Shapes alone do not decide it: reshape, gather, pad and products with square matrices can move entries from one example to another
and keep the shape.
"""

import math
from collections.abc import Sequence

import numpy as np

# Primitives whose result may have the batch on another axis than the operand.
ANYWHERE = frozenset(
    "squeeze expand_dims stack unstack split reduce_sum reduce_max reduce_min reduce_and reduce_or reduce gather".split()
    + "dot_general conv_general_dilated transpose broadcast_in_dim reshape depthwise".split()
    + "scatter scatter-add scatter-mul scatter-max scatter-min".split()
)


def keeps_examples_apart(
    name: str, params: dict, operands: Sequence[tuple[int, tuple[int, ...], int]], shape, axis: int, indices=None
) -> bool:
    """Whether example i of an output comes from example i of the operands alone.

    Args:
      name, params: of the primitive.
      operands: (place among all operands, shape, batch axis) of each bounded one.
      shape, axis: of the output; its `axis` is as long as the batch.
      indices: those of a gather, if they are known.
    """
    return all(_keeps_apart(name, params, place, own, batch, shape, axis, indices) for place, own, batch in operands)


def _keeps_apart(name, params, place, own, batch, shape, axis, indices):
    if name not in ANYWHERE and batch != axis:
        return False
    if name == "reshape":
        return math.prod(own[:batch]) == math.prod(shape[:axis])
    if name == "transpose":
        return params["permutation"][axis] == batch
    if name == "broadcast_in_dim":
        return params["broadcast_dimensions"][batch] == axis
    if name == "dot_general":
        return batch not in params["dimension_numbers"][0][place]
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        return batch == (numbers.lhs_spec, numbers.rhs_spec)[place][0] and axis == numbers.out_spec[place]
    if name == "pad":
        return tuple(params["padding_config"][batch]) == (0, 0, 0)
    if name.startswith("reduce_window"):
        return params["window_dimensions"][batch] == 1 and tuple(params["padding"][batch]) == (0, 0)
    if name in ("rev", "tile"):
        return batch not in params["dimensions"] if name == "rev" else params["reps"][batch] == 1
    if name in ("cumsum", "sort"):
        return batch != params["axis" if name == "cumsum" else "dimension"]
    if name == "top_k":
        return batch != params.get("axis", len(own) - 1) % len(own)
    if name == "fft":
        return batch < len(own) - len(params["fft_lengths"])
    if name == "gather":
        numbers, size = params["dimension_numbers"], params["slice_sizes"][batch]
        is_own = size == 1 and _starts_at_own(numbers, batch, axis, indices, shape)
        return batch in numbers.operand_batching_dims or size == own[batch] or is_own
    if name.startswith("scatter"):
        return batch == axis if place == 0 else _window_of_update(params["dimension_numbers"], batch, len(shape)) == axis
    if name == "depthwise":
        return batch in (0, 1, 2)
    if name == "convolution":
        return batch == 0
    if name == "pointwise":
        return batch != len(shape) - 4
    return True


def _starts_at_own(numbers, batch, axis, indices, shape):
    """Whether known start indices of a gather along the axis `batch` are the places along the result's `axis`."""
    if indices is None or batch not in numbers.start_index_map or axis in numbers.offset_dims:
        return False
    starts = np.asarray(indices)[..., numbers.start_index_map.index(batch)]
    place = [i for i in range(len(shape)) if i not in numbers.offset_dims].index(axis)
    return bool(np.all(np.moveaxis(starts, place, -1) == np.arange(starts.shape[place])))


def _window_of_update(numbers, batch, rank):
    """The axis of a scatter's result that the axis `batch` of its updates is written along; None if it is none of the window."""
    if batch not in numbers.update_window_dims:
        return None
    windows = [i for i in range(rank) if i not in (*numbers.inserted_window_dims, *numbers.operand_batching_dims)]
    return windows[numbers.update_window_dims.index(batch)]
