"""ONNX's Resize and Upsample, by the nearest entry or by weights of the nearest two or four along each axis."""

import math

import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation, counted

_ROUNDED = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _coordinates(node, size: int, scale: float, length: int) -> np.ndarray:
    """The coordinates of the `length` entries of the result on an axis of `size`; in float32, as in onnxruntime, for ties."""
    mode = node.get("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")
    at, factor = np.arange(length, dtype=np.float32), np.float32(scale)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and length > 1):
        return (at + 0.5) / factor - 0.5
    if mode == "half_pixel_symmetric":
        unseen = size / 2 * (1 - length / (factor * size))
        return (unseen + (at + 0.5) / factor - 0.5).astype(np.float32)
    if mode == "pytorch_half_pixel":
        return np.zeros(1, np.float32)
    if mode == "align_corners":
        return at * np.float32(size - 1) / np.float32(length - 1) if length > 1 else np.zeros(1, np.float32)
    if mode == "asymmetric":
        return at / factor
    raise InputError(f"coordinate_transformation_mode={mode!r} is not read")


def _nearest(node, at, size) -> np.ndarray:
    rounded = _ROUNDED[node.get("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")](at)
    return np.clip(rounded, 0, size - 1).astype(np.int32)


def _line(node, distance):
    return np.maximum(1 - distance, 0)


def _cubic(node, distance):
    """Keys 1981, equation 4."""
    a = node.get("cubic_coeff_a", -0.75)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _shares(node, at, size, weight, reach) -> np.ndarray:
    """The share that each entry of an axis of `size` has in those of the result, at coordinates `at`: [result, size]."""
    at, shares = at.astype(np.float64), np.zeros((len(at), size))
    for tap in range(1 - reach, 1 + reach):
        place = np.floor(at).astype(int) + tap
        own = weight(node, np.abs(at - place))
        if node.get("exclude_outside", 0):
            own = np.where((place >= 0) & (place < size), own, 0)
        np.add.at(shares, (np.arange(len(at)), np.clip(place, 0, size - 1)), own)
    return shares / shares.sum(1, keepdims=True)


_WEIGHTS = {"linear": (_line, 1), "cubic": (_cubic, 2)}  # with the number of entries that they reach on each side


def _lengths(node, shape, operands):
    """(scale, length) of each axis of the result."""
    scales, sizes = (np.ravel(o) for o in _scales_and_sizes(node, operands))
    axes = [counted(int(axis), len(shape)) for axis in node.get("axes", range(len(shape)))]
    pairs = [(1.0, n) for n in shape]
    if sizes.size:
        for axis, length in zip(axes, sizes, strict=True):
            pairs[axis] = (int(length) / shape[axis], int(length))
        return pairs
    for axis, scale in zip(axes, np.ravel(node.get("scales", scales)).astype(np.float32), strict=True):
        pairs[axis] = (float(scale), math.floor(scale * np.float32(shape[axis])))
    return pairs


def _resize(node, x, *operands):
    mode, lengths = node.get("mode", "nearest"), _lengths(node, x.shape, operands)
    for axis, (scale, length) in list(enumerate(lengths))[1:]:
        size = x.shape[axis]
        if length == size and scale == 1:
            continue
        at = _coordinates(node, size, scale, length)
        if mode == "nearest":
            x = x[(slice(None),) * axis + (_nearest(node, at, size),)]
        else:
            x = jnp.moveaxis(jnp.tensordot(x, _shares(node, at, size, *_WEIGHTS[mode]).astype(x.dtype), (axis, 1)), -1, axis)
    return x


def _scales_and_sizes(node, operands):
    operands = [np.zeros(0) if o is None else o for o in operands]
    if len(operands) > 1 and node.operator == "Resize":  # from opset 11 on: the region of interest, scales, sizes
        return (*operands[1:], np.zeros(0))[:2]
    return (operands[0] if operands else np.zeros(0)), np.zeros(0)


def _keeps_batch(node, operands):
    mode = node.get("mode", "nearest")
    if mode not in ("nearest", *_WEIGHTS) or node.get("antialias", 0):
        raise InputError(f"mode={mode!r}, or antialias: expected nearest, linear or cubic without it")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise InputError(f"keep_aspect_ratio_policy={node.get('keep_aspect_ratio_policy')!r}: only stretch is read")
    x, constants = operands[0], [None if o is None else o.constant for o in operands[1:]]
    (scale, length), *_ = _lengths(node, x.shape, constants)
    if not scale == 1 or length != x.shape[0]:
        raise InputError("the first axis is resized, which is not read")
    return x.is_batched


OPERATIONS = {
    "Resize": OnnxOperation(_resize, _keeps_batch, static=(1, 2, 3)),
    "Upsample": OnnxOperation(_resize, _keeps_batch, static=(1,)),
}
