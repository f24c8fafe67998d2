"""ONNX operations that move, choose or repeat entries: Reshape, Transpose, Concat, Slice, Pad and their like."""

import itertools
import math

import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import (
    OnnxOperation,
    axes_of,
    axis_is_no_batch,
    axis_of,
    counted,
    first_is_batched,
)


def _reshaped(node, operands):
    x, target = operands[0].shape, [int(n) for n in np.ravel(_whole_numbers(node, operands, 1, "shape"))]
    if not node.get("allowzero", 0):
        target = [x[i] if n == 0 and i < len(x) else n for i, n in enumerate(target)]
    if target.count(-1) > 1 or any(n < -1 for n in target):
        raise InputError(f"shape {target}: expected lengths, and at most one -1")
    known = math.prod(n for n in target if n != -1)
    shape = tuple(math.prod(x) // max(known, 1) if n == -1 else n for n in target)
    if math.prod(shape) != math.prod(x):
        raise InputError(f"shape {target} does not fit {list(x)}")
    return shape


def _flattened(node, operands):
    x = operands[0].shape
    axis = int(node.get("axis", 1))
    axis = axis + len(x) if axis < 0 else axis
    return math.prod(x[:axis]), math.prod(x[axis:])


def _squeezed(node, operands):
    x = operands[0].shape
    axes = axes_of(node, operands, 1, len(x))
    axes = tuple(i for i, n in enumerate(x) if n == 1) if axes is None else axes
    if any(x[axis] != 1 for axis in axes):
        raise InputError(f"axes {list(axes)} of {list(x)} are not all 1 long")
    return tuple(n for i, n in enumerate(x) if i not in axes)


def _unsqueezed(node, operands):
    x, given = list(operands[0].shape), _whole_numbers(node, operands, 1, "axes")
    for axis in sorted(counted(int(a), len(x) + np.size(given)) for a in np.ravel(given)):
        x.insert(axis, 1)
    return tuple(x)


def _whole_numbers(node, operands, place, attribute):
    """Whole numbers that a node names by a constant operand, or by an attribute in older opsets."""
    operand = operands[place] if place < len(operands) else None
    if operand is None and node.get(attribute) is None:
        raise InputError(f"expected {attribute}")
    if operand is not None and not operand.is_constant:
        raise InputError(f"its {attribute} depends on the input of the network")
    return node.get(attribute) if operand is None else operand.constant


def _kept(node, operands):
    return operands[0].shape


def _undropped(node, operands):
    mode = operands[2] if len(operands) > 2 else None
    if mode is not None and (not mode.is_constant or np.any(mode.constant)):
        raise InputError("training_mode draws at random: save the network for inference")
    return operands[0].shape


def _transpose(node, x):
    return jnp.transpose(x, node.get("perm") or range(x.ndim)[::-1])


def _transpose_takes_batch(node, operands):
    return operands[0].is_batched and (node.get("perm") or [None])[0] == 0


def _concat(node, *operands):
    axis = axis_of(node, operands[0].ndim, 1)
    length = max(x.shape[0] for x in operands) if axis else 0
    if axis:  # constants have an axis of length 1 where others have the batch
        operands = tuple(jnp.broadcast_to(x, (length, *x.shape[1:])) if x.shape[0] == 1 else x for x in operands)
    return jnp.concatenate(operands, axis)


def _concat_takes_batch(node, operands):
    axis = axis_of(node, len(operands[0].shape), 1)
    return axis > 0 and all(o.is_batched or (o.is_constant and o.shape[0] == 1) for o in operands)


def _slices(node, rank, starts, ends, axes, steps):
    """A slice for each axis, by attributes (before opset 10) or by operands."""
    starts, ends = (np.ravel(node.get("starts", starts)), np.ravel(node.get("ends", ends)))
    axes, steps = node.get("axes", axes), node.get("steps", steps)
    axes = range(len(starts)) if axes is None else np.ravel(axes)
    steps = [1] * len(starts) if steps is None else np.ravel(steps)
    slices = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        start, end, step = int(start), int(end), int(step)
        slices[counted(int(axis), rank)] = slice(start, None if step < 0 and end < -(2**31) else end, step)
    return slices


def _slice(node, x, starts=None, ends=None, axes=None, steps=None):
    for axis, part in enumerate(_slices(node, x.ndim, starts, ends, axes, steps)):
        if part != slice(None):
            low, high, step = part.indices(x.shape[axis])
            if step < 0:  # as a forward slice of the same entries, turned around
                entries = range(low, high, step)
                low, high, step = (entries[-1], entries[0] + 1, -step) if len(entries) else (0, 0, 1)
            index = tuple([slice(None)] * axis + [slice(low, max(low, high), step)])
            x = jnp.flip(x[index], axis) if part.step < 0 else x[index]
    return x


def _slice_takes_batch(node, operands):
    rank = len(operands[0].shape)
    values = [o.constant if o is not None else None for o in operands[1:]] + [None] * (5 - len(operands))
    return first_is_batched(node, operands) and _slices(node, rank, *values)[0] == slice(None)


def _pad_widths(node, rank, pads, axes):
    given = np.ravel(node.get("pads", node.get("paddings", pads)))
    places = range(rank) if axes is None else [counted(int(axis), rank) for axis in np.ravel(axes)]
    widths = [(0, 0)] * rank
    for axis, before, after in zip(places, given[: len(given) // 2], given[len(given) // 2 :], strict=True):
        widths[axis] = (int(before), int(after))
    return widths


def _pad(node, x, pads=None, value=None, axes=None):
    widths, mode = _pad_widths(node, x.ndim, pads, axes), node.get("mode", "constant")
    for axis, (before, after) in enumerate(widths):  # negative ones cut
        if before < 0 or after < 0:
            x = x[(slice(None),) * axis + (slice(max(-before, 0), x.shape[axis] - max(-after, 0)),)]
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        number = node.get("value", 0.0) if value is None else float(np.ravel(value)[0])
        return jnp.pad(x, widths, constant_values=number)
    if mode not in ("reflect", "edge", "wrap"):
        raise InputError(f"mode={mode!r}: expected constant, reflect, edge or wrap")
    return jnp.pad(x, widths, mode=mode)


def _pad_takes_batch(node, operands):
    pads, _, axes = ([o.constant if o is not None else None for o in operands[1:]] + [None] * 3)[:3]
    return first_is_batched(node, operands) and _pad_widths(node, len(operands[0].shape), pads, axes)[0] == (0, 0)


def _split(node, x, sizes=None):
    axis, parts = axis_of(node, x.ndim, 0), len(node.outputs)
    sizes = node.get("split", sizes)
    if sizes is None:
        each = math.ceil(x.shape[axis] / parts)
        sizes = [min(each, x.shape[axis] - i * each) for i in range(parts)]
    if sum(map(int, sizes)) != x.shape[axis]:
        raise InputError(f"parts of {list(map(int, sizes))} of an axis of {x.shape[axis]}")
    starts = itertools.accumulate(map(int, sizes), initial=0)
    return tuple(x[(slice(None),) * axis + (slice(a, b),)] for a, b in itertools.pairwise(starts))


def _expand(node, x, shape):
    lengths = [int(n) for n in np.ravel(shape)]
    x = x.reshape((1,) * (len(lengths) - x.ndim) + x.shape)
    lengths = [1] * (x.ndim - len(lengths)) + lengths
    return jnp.broadcast_to(x, tuple(max(n, m) if m == 1 or n == 1 else n for n, m in zip(x.shape, lengths, strict=True)))


def _expand_takes_batch(node, operands):
    lengths = np.ravel(operands[1].constant)
    return first_is_batched(node, operands) and len(lengths) <= len(operands[0].shape) and _first_is_one(node, operands)


def _first_is_one(node, operands):
    values = np.ravel(operands[1].constant)
    return operands[0].is_batched and (len(values) < len(operands[0].shape) or values[0] == 1)


def _tile(node, x, repeats):
    return jnp.tile(x, [int(n) for n in np.ravel(repeats)])


def _triangle(node, x, offset=None):
    k = 0 if offset is None else int(np.ravel(offset)[0])
    return jnp.triu(x, k) if node.get("upper", 1) else jnp.tril(x, k)


def _triangle_takes_batch(node, operands):
    return first_is_batched(node, operands) and len(operands[0].shape) > 2


def _depth_to_space(node, x):
    n, channels, height, width = x.shape
    block = node.get("blocksize")
    depth = channels // block**2
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, block, block, depth, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, depth, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, depth, height * block, width * block)


def _space_to_depth(node, x):
    n, channels, height, width = x.shape
    block = node.get("blocksize")
    parts = x.reshape(n, channels, height // block, block, width // block, block).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, channels * block**2, height // block, width // block)


OPERATIONS = {
    "Concat": OnnxOperation(_concat, _concat_takes_batch),
    "DepthToSpace": OnnxOperation(_depth_to_space, first_is_batched),
    "Dropout": OnnxOperation(reshapes=_undropped),
    "Expand": OnnxOperation(_expand, _expand_takes_batch, static=(1,)),
    "Flatten": OnnxOperation(reshapes=_flattened),
    "Identity": OnnxOperation(reshapes=_kept),
    "Pad": OnnxOperation(_pad, _pad_takes_batch, static=(1, 2, 3)),
    "Reshape": OnnxOperation(reshapes=_reshaped),
    "Slice": OnnxOperation(_slice, _slice_takes_batch, static=(1, 2, 3, 4)),
    "SpaceToDepth": OnnxOperation(_space_to_depth, first_is_batched),
    "Split": OnnxOperation(_split, axis_is_no_batch, static=(1,)),
    "Squeeze": OnnxOperation(reshapes=_squeezed),
    "Tile": OnnxOperation(_tile, _first_is_one, static=(1,)),
    "Transpose": OnnxOperation(_transpose, _transpose_takes_batch),
    "Trilu": OnnxOperation(_triangle, _triangle_takes_batch, static=(1,)),
    "Unsqueeze": OnnxOperation(reshapes=_unsqueezed),
}
