"""Primitives of JAX that move, choose or repeat entries, as nodes of ONNX."""

import numpy as np
from jax import lax

from dsrna_jax.interchange.emission.graph_writer import Emission, Tensor


def _broadcast(writer, params, operands, shapes):
    """Axes of length 1 where there are none; repeated only where an operation needs it."""
    (value,) = operands
    own, places = (value.own if isinstance(value, Tensor) else value.shape), params["broadcast_dimensions"]
    lengths = [1] * len(shapes[0])
    for place, n in zip(places, own, strict=True):
        lengths[place] = n
    if isinstance(value, np.ndarray):
        return [Tensor(writer.named(value.reshape(lengths)), tuple(lengths), shapes[0])]
    reshaped = writer.reshaped(Tensor(value.name, own, own), lengths)
    return [reshaped._replace(shape=shapes[0])]


def _reshaped(writer, params, operands, shapes):
    """In the order of `dimensions`, if a reshape has one."""
    order = params.get("dimensions") if "new_sizes" in params else None
    value = operands[0] if order is None else writer.transposed(operands[0], list(map(int, order)))
    return [writer.reshaped(value, shapes[0])]


def _transposed(writer, params, operands, shapes):
    return [writer.transposed(operands[0], params["permutation"])]


def _concatenated(writer, params, operands, shapes):
    return [writer.value("Concat", [writer.whole(o) for o in operands], shapes[0], axis=int(params["dimension"]))]


def _stacked(writer, params, operands, shapes):
    axis, wholes = int(params["axis"]), [writer.whole(o) for o in operands]
    parts = [writer.reshaped(o, (*o.shape[:axis], 1, *o.shape[axis:])) for o in wholes]
    return [writer.value("Concat", parts, shapes[0], axis=axis) if len(parts) > 1 else parts[0]]


def _split(writer, params, operands, shapes):
    names = writer.node(
        "Split", [writer.whole(operands[0]), np.array(params["sizes"], np.int64)], len(shapes), axis=int(params["axis"])
    )
    return [Tensor(name, shape, shape) for name, shape in zip(names, shapes, strict=True)]


def _unstacked(writer, params, operands, shapes):
    axis = int(params["axis"])
    if len(shapes) == 1:
        return [writer.reshaped(operands[0], shapes[0])]
    lengths = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
    parts = _split(writer, {"sizes": [1] * len(shapes), "axis": axis}, operands, lengths)
    return [writer.reshaped(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _sliced(writer, params, operands, shapes):
    value = writer.whole(operands[0])
    steps = params["strides"] or (1,) * len(value.shape)
    changed = [
        (start, end, axis, step)
        for axis, (start, end, step) in enumerate(zip(params["start_indices"], params["limit_indices"], steps, strict=True))
        if value.shape[axis] >= 0 and (start, end, step) != (0, value.shape[axis], 1)
    ]
    if any(value.shape[i] != shapes[0][i] for i in range(len(value.shape)) if value.shape[i] < 0):
        raise NotImplementedError("a part of the batch")
    if not changed:
        return [value]
    return [writer.value("Slice", [value, *(np.array(part, np.int64) for part in zip(*changed, strict=True))], shapes[0])]


def _tiled(writer, params, operands, shapes):
    return [writer.value("Tile", [writer.whole(operands[0]), np.array(params["reps"], np.int64)], shapes[0])]


def _turned(writer, params, operands, shapes):
    value, axes = writer.whole(operands[0]), list(map(int, params["dimensions"]))
    if any(value.shape[axis] < 0 for axis in axes):
        raise NotImplementedError("the batch")
    steps = [-1] * len(axes)
    slices = [np.array(part, np.int64) for part in (steps, [-(2**31)] * len(axes), axes, steps)]  # starts, ends, axes, steps
    return [writer.value("Slice", [value, *slices], shapes[0])]


def _slice_at(writer, params, operands, shapes):
    """A slice at constant places, which are moved into the array."""
    value, *starts = operands
    if not all(isinstance(start, np.ndarray) for start in starts):
        raise NotImplementedError("at places that depend on the input")
    value = writer.whole(value)
    sizes = [max(n, 0) for n in shapes[0]]
    lengths = zip(starts, value.shape, sizes, strict=True)
    first = [0 if n < 0 else min(max(int(start), 0), n - size) for start, n, size in lengths]
    limits = [start + size for start, size in zip(first, sizes, strict=True)]
    return _sliced(writer, {"start_indices": first, "limit_indices": limits, "strides": None}, [value], shapes)


def _gathered(writer, params, operands, shapes):
    """Entries at constant places along one axis, each with all of the other axes."""
    numbers, (value, index) = params["dimension_numbers"], operands
    value, axes = writer.whole(value), list(map(int, numbers.start_index_map))
    others = [n for axis, n in enumerate(value.shape) if axis not in axes]
    kept = [n for axis, n in enumerate(shapes[0]) if axis in numbers.offset_dims]
    plain = len(axes) == 1 and tuple(map(int, numbers.collapsed_slice_dims)) == tuple(axes) and not numbers.operand_batching_dims
    if not plain or kept != others or value.shape[axes[0]] < 0 or not isinstance(index, np.ndarray):
        raise NotImplementedError("but of constant places along one axis")
    (axis,), places = axes, index[..., 0].astype(np.int64)
    inside = np.clip(places, 0, value.shape[axis] - 1)
    if params["mode"] == lax.GatherScatterMode.FILL_OR_DROP and not np.array_equal(inside, places):
        raise NotImplementedError("beyond the array, where it is filled")
    shape = (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])
    result = writer.value("Gather", [value, inside], shape, axis=axis)
    ahead = [i for i in range(len(shapes[0])) if i not in numbers.offset_dims]
    own = [*range(axis, axis + places.ndim)]
    rest = [i for i in range(len(shape)) if i not in own]
    order = dict(zip([*ahead, *map(int, numbers.offset_dims)], [*own, *rest], strict=True))
    return [writer.transposed(result, [order[i] for i in range(len(shape))])]


def _padded(writer, params, operands, shapes):
    value, number = operands
    low, high, inner = zip(*params["padding_config"], strict=True)
    if any(inner):
        raise NotImplementedError("padding between entries")
    return [writer.value("Pad", [writer.whole(value), np.array([*low, *high], np.int64), number], shapes[0])]


def _gathered_rows(writer, params, operands, shapes):
    value, index = writer.whole(operands[0]), np.array(params["index"], np.int64)
    if (index < 0).any():
        ends = [0] * len(value.shape), [1] + [0] * (len(value.shape) - 1)
        value = writer.value("Pad", [value, np.array([*ends[0], *ends[1]], np.int64)], (value.shape[0] + 1, *value.shape[1:]))
        index = np.where(index < 0, value.shape[0] - 1, index)
    return [writer.value("Gather", [value, index], shapes[0], axis=0)]


EMISSIONS: dict[str, Emission] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenated,
    "dynamic_slice": _slice_at,
    "expand_dims": _reshaped,
    "gather": _gathered,
    "gather_rows": _gathered_rows,
    "pad": _padded,
    "reshape": _reshaped,
    "rev": _turned,
    "slice": _sliced,
    "split": _split,
    "squeeze": _reshaped,
    "stack": _stacked,
    "tile": _tiled,
    "transpose": _transposed,
    "unstack": _unstacked,
}
