"""ONNX operations that multiply matrices or normalise: Gemm, MatMul, BatchNormalization, Softmax and their like."""

import math

import jax
import jax.numpy as jnp

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.elementwise import of_one_rank
from dsrna_jax.interchange.operations.registry import OnnxOperation, axis_of, counted, first_is_batched


def _gemm(node, a, b, c=None):
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    product = a @ b if alpha == 1 else alpha * (a @ b)
    if c is None:
        return product
    return jnp.add(*of_one_rank(product, c if beta == 1 else beta * c))


def _gemm_takes_batch(node, operands):
    c = operands[2] if len(operands) > 2 else None
    return first_is_batched(node, operands) and not node.get("transA", 0) and (c is None or len(c.shape) < 2 or c.shape[0] == 1)


def _matmul(node, a, b):
    batch = max(jnp.ndim(a), jnp.ndim(b))
    if jnp.ndim(a) > 2 and jnp.ndim(b) > 2 and jnp.ndim(a) != jnp.ndim(b):
        a, b = (jnp.expand_dims(x, range(batch - x.ndim)) for x in (a, b))
    return jnp.matmul(a, b)


def _matmul_takes_batch(node, operands):
    a, b = operands
    if a.is_batched and b.is_batched:
        return len(a.shape) == len(b.shape) > 2
    if a.is_batched:
        return len(a.shape) > 1 and b.is_constant and (len(b.shape) <= 2 or (len(b.shape) == len(a.shape) and b.shape[0] == 1))
    return a.is_constant and len(b.shape) > 2 and (len(a.shape) <= 2 or (len(a.shape) == len(b.shape) and a.shape[0] == 1))


def _batch_normalization(node, x, scale, shift, mean, variance):
    if node.get("training_mode", 0):
        raise InputError("training_mode=1 mixes examples: save the network for inference")
    if not node.get("spatial", 1):
        raise InputError("spatial=0, as before opset 9, is not read: convert it to opset 9")
    factor = scale / jnp.sqrt(variance + node.get("epsilon", 1e-5))
    along = (1, -1, *[1] * (x.ndim - 2))
    return x * factor.reshape(along) + (shift - mean * factor).reshape(along)


def _instance_normalization(node, x, scale, shift):
    axes, along = tuple(range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    return centred / jnp.sqrt(variance + node.get("epsilon", 1e-5)) * scale.reshape(along) + shift.reshape(along)


def _layer_normalization(node, x, scale, shift=None):
    axes = tuple(range(axis_of(node, x.ndim, -1), x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    scaled = jnp.multiply(*of_one_rank(centred / jnp.sqrt(variance + node.get("epsilon", 1e-5)), scale))
    return scaled if shift is None else jnp.add(*of_one_rank(scaled, shift))


def _group_normalization(node, x, scale, shift):
    groups = node.get("num_groups")
    parts = x.reshape(len(x), groups, -1)
    centred = parts - parts.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    scaled = (centred / jnp.sqrt(variance + node.get("epsilon", 1e-5))).reshape(x.shape)
    if node.opset < 21:  # one factor for each group
        scale, shift = (jnp.repeat(each, x.shape[1] // groups) for each in (scale, shift))
    along = (1, -1, *[1] * (x.ndim - 2))
    return scaled * scale.reshape(along) + shift.reshape(along)


def _root_mean_square_normalization(node, x, scale):
    axes = tuple(range(axis_of(node, x.ndim, -1), x.ndim))
    squares = (x * x).mean(axes, keepdims=True)
    return jnp.multiply(*of_one_rank(x / jnp.sqrt(squares + node.get("epsilon", 1e-5)), scale))


def _mean_variance_normalization(node, x):
    axes = tuple(counted(int(axis), x.ndim) for axis in node.get("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdims=True)
    return centred / (jnp.sqrt((centred * centred).mean(axes, keepdims=True)) + 1e-9)


def _length_normalization(node, x):
    axis = axis_of(node, x.ndim, -1)
    p = node.get("p", 2)
    length = jnp.abs(x).sum(axis, keepdims=True) if p == 1 else jnp.sqrt((x * x).sum(axis, keepdims=True))
    return x / jnp.where(length > 0, length, 1)


def _layer_takes_batch(node, operands):
    return first_is_batched(node, operands) and axis_of(node, len(operands[0].shape), -1) > 0


def _over_classes(function) -> OnnxOperation:
    def apply(node, x):
        if node.opset >= 13:
            return function(x, axis=axis_of(node, x.ndim, -1))
        axis = axis_of(node, x.ndim, 1)  # before opset 13 over all axes from this one on
        return function(x.reshape(*x.shape[:axis], math.prod(x.shape[axis:])), axis=-1).reshape(x.shape)

    def takes_batch(node, operands):
        rank = len(operands[0].shape)
        return operands[0].is_batched and axis_of(node, rank, -1 if node.opset >= 13 else 1) > 0

    return OnnxOperation(apply, takes_batch)


def _hardmax(x, axis):
    """One at the first of the largest entries along an axis, zero elsewhere."""
    return jax.nn.one_hot(x.argmax(axis), x.shape[axis], dtype=x.dtype, axis=axis)


OPERATIONS = {
    "BatchNormalization": OnnxOperation(_batch_normalization, first_is_batched),
    "Einsum": OnnxOperation(lambda node, *operands: jnp.einsum(node.get("equation"), *operands)),
    "Gemm": OnnxOperation(_gemm, _gemm_takes_batch),
    "GroupNormalization": OnnxOperation(_group_normalization, first_is_batched),
    "Hardmax": _over_classes(_hardmax),
    "InstanceNormalization": OnnxOperation(_instance_normalization, first_is_batched),
    "LayerNormalization": OnnxOperation(_layer_normalization, _layer_takes_batch),
    "LogSoftmax": _over_classes(jax.nn.log_softmax),
    "LpNormalization": OnnxOperation(_length_normalization, _layer_takes_batch),
    "MatMul": OnnxOperation(_matmul, _matmul_takes_batch),
    "MeanVarianceNormalization": OnnxOperation(_mean_variance_normalization),
    "RMSNormalization": OnnxOperation(_root_mean_square_normalization, _layer_takes_batch),
    "Softmax": _over_classes(jax.nn.softmax),
}
