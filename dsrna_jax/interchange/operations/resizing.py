"""ONNX's Resize and Upsample by the nearest entry."""

import math

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation

_ROUNDED = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _places(node, size: int, scale: float, length: int) -> np.ndarray:
    """The entry of an axis of `size` that each of the `length` entries of the result repeats."""
    mode = node.get("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")
    at, factor = np.arange(length, dtype=np.float32), np.float32(scale)  # in float32, as onnxruntime: ties are common
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and length > 1):
        at = (at + 0.5) / factor - 0.5
    elif mode == "pytorch_half_pixel":
        at = np.zeros(1, np.float32)
    elif mode == "align_corners":
        at = at * np.float32(size - 1) / np.float32(length - 1) if length > 1 else np.zeros(1, np.float32)
    elif mode == "asymmetric":
        at = at / factor
    else:
        raise InputError(f"coordinate_transformation_mode={mode!r} is not read")
    rounded = _ROUNDED[node.get("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")](at)
    return np.clip(rounded, 0, size - 1).astype(np.int32)


def _lengths(node, shape, operands):
    """(scale, length) of each axis of the result."""
    scales, sizes = operands
    if np.size(sizes):
        lengths = [int(n) for n in np.ravel(sizes)]
        return [(m / n, m) for n, m in zip(shape, lengths, strict=True)]
    scales = np.ravel(node.get("scales", scales)).astype(np.float32)
    return [(float(s), math.floor(s * np.float32(n))) for n, s in zip(shape, scales, strict=True)]


def _resize(node, x, *operands):
    lengths = _lengths(node, x.shape, _scales_and_sizes(node, operands))
    for axis, (scale, length) in list(enumerate(lengths))[1:]:
        if length != x.shape[axis] or scale != 1:
            x = x[(slice(None),) * axis + (_places(node, x.shape[axis], scale, length),)]
    return x


def _scales_and_sizes(node, operands):
    operands = [np.zeros(0) if o is None else o for o in operands]
    if len(operands) > 1 and node.operator == "Resize":  # from opset 11 on: the region of interest, scales, sizes
        return (*operands[1:], np.zeros(0))[:2]
    return (operands[0] if operands else np.zeros(0)), np.zeros(0)


def _keeps_batch(node, operands):
    if node.get("mode", "nearest") != "nearest" or node.get("axes") or node.get("antialias", 0):
        raise InputError(f"mode={node.get('mode')!r}, or axes, or antialias: only mode='nearest' of all axes is read")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise InputError(f"keep_aspect_ratio_policy={node.get('keep_aspect_ratio_policy')!r}: only stretch is read")
    x, constants = operands[0], [None if o is None else o.constant for o in operands[1:]]
    (scale, length), *_ = _lengths(node, x.shape, _scales_and_sizes(node, constants))
    if not scale == 1 or length != x.shape[0]:
        raise InputError("the first axis is resized, which is not read")
    return x.is_batched


OPERATIONS = {
    "Resize": OnnxOperation(_resize, _keeps_batch, static=(1, 2, 3)),
    "Upsample": OnnxOperation(_resize, _keeps_batch, static=(1,)),
}
