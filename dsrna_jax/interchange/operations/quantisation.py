"""ONNX operations between numbers and the integers that stand for them: value = (integer - zero point) * scale."""

import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation, axis_of

DEFAULT_ZERO = np.zeros((), np.uint8)
TYPES = ("int8", "uint8", "int16", "uint16")


def _quantized(node, x, scale, zero=DEFAULT_ZERO):
    if str(zero.dtype) not in TYPES or node.get("output_dtype", 0):
        raise InputError(f"it gives {zero.dtype}, or a type named by output_dtype: expected a zero point of {', '.join(TYPES)}")
    if node.get("precision", 0) not in (0, 1):  # float32
        raise InputError("precision of another type than float32 is not read")
    range_ = np.iinfo(zero.dtype)
    scale, zero = (_along(node, x, parameter) for parameter in (scale, zero))
    zero = zero.astype(np.int32)
    return (jnp.clip(jnp.round(x / scale), range_.min - zero, range_.max - zero).astype(jnp.int32) + zero).astype(range_.dtype)


def _dequantized(node, x, scale, zero=DEFAULT_ZERO):
    if str(x.dtype) not in (*TYPES, "int32"):
        raise InputError(f"it takes {x.dtype}: expected {', '.join(TYPES)} or int32")
    scale, zero = (_along(node, x, parameter) for parameter in (scale, zero))
    return (x.astype(jnp.int32) - zero.astype(np.int32)).astype(scale.dtype) * scale


def _along(node, x, parameter):
    """A parameter of the tensor, or of each entry along an axis, in the shape that broadcasts. Raises: InputError for blocks."""
    if parameter.size == 1:
        return parameter.reshape(())
    if node.get("block_size", 0) or parameter.ndim > 1:
        raise InputError("scales of blocks are not read: expected one scale, or one for each entry along an axis")
    shape = [1] * x.ndim
    shape[axis_of(node, x.ndim, 1)] = parameter.size
    return parameter.reshape(shape)


def _takes_batch(node, operands):
    x, scale, *_ = operands
    if not x.is_batched or any(o is not None and not o.is_constant for o in operands[1:]):
        return False
    return scale.shape in ((), (1,)) or axis_of(node, len(x.shape), 1) > 0


OPERATIONS = {
    "DequantizeLinear": OnnxOperation(_dequantized, _takes_batch, static=(2,)),
    "QuantizeLinear": OnnxOperation(_quantized, _takes_batch, static=(2,)),
}
