"""ONNX operations on single entries, with NumPy's broadcasting: arithmetic, activations, comparisons, choices."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation


def _broadcasts_after_batch(node, operands):
    rank = max(len(o.shape) for o in operands if o)
    given = [o for o in operands if o]
    full = [o for o in given if len(o.shape) == rank]
    varying = [o for o in given if not o.is_constant]
    return all(o.is_batched and len(o.shape) == rank for o in varying) and all(o.shape[:1] in ((), (1,)) for o in full)


def of_one_rank(*arrays):
    """The arrays with axes of length 1 put before the others, so that all have as many; scalars stay scalars."""
    rank = max(jnp.ndim(a) for a in arrays)
    return [a if jnp.ndim(a) in (0, rank) else jnp.expand_dims(a, range(rank - jnp.ndim(a))) for a in arrays]


def _entrywise(function) -> OnnxOperation:
    def apply(node, *operands):
        if "axis" in node.attributes:  # before opset 7
            raise InputError("operands are broadcast along axis, as before opset 7, which is not read: convert it to opset 7")
        return function(*of_one_rank(*operands))

    return OnnxOperation(apply, _broadcasts_after_batch)


def _with_options(function) -> OnnxOperation:
    return OnnxOperation(function, _broadcasts_after_batch)


def _folded(function) -> OnnxOperation:
    return _entrywise(lambda *operands: functools.reduce(function, operands))


def _elu(node, x):
    return jnp.where(x > 0, x, node.get("alpha", 1.0) * jnp.expm1(jnp.where(x > 0, 0.0, x)))


def _selu(node, x):
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0.0, x)))


def _celu(node, x):
    return jax.nn.celu(x, node.get("alpha", 1.0))


def _swish(node, x):
    return x * jax.nn.sigmoid(node.get("alpha", 1.0) * x)


def _shrink(node, x):
    edge, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    return jnp.where(x < -edge, x + bias, jnp.where(x > edge, x - bias, 0.0))


def _leaky_relu(node, x):
    return jax.nn.leaky_relu(x, node.get("alpha", 0.01))


def _hard_sigmoid(node, x):
    return jnp.clip(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0.0, 1.0)


def _gelu(node, x):
    return jax.nn.gelu(x, approximate=node.get("approximate", "none") == "tanh")


def _prelu(x, slope):
    return jnp.where(x > 0, x, slope * x)


def _clip(node, x, low=None, high=None):
    low, high = node.get("min", low), node.get("max", high)
    x = x if low is None else jnp.maximum(x, np.asarray(low, x.dtype).reshape(()))
    return x if high is None else jnp.minimum(x, np.asarray(high, x.dtype).reshape(()))


def _power(x, exponent):
    if not isinstance(exponent, np.ndarray) or exponent.size != 1:
        return x**exponent
    number = exponent.item()
    return x ** int(number) if math.isfinite(number) and number == int(number) else x**number


def _cast(node, x):
    from onnx import helper

    return _of_type(x, np.dtype(helper.tensor_dtype_to_np_dtype(node.get("to"))))


def _of_type(x, dtype):
    if dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
    if dtype == x.dtype:
        return x
    if dtype == np.dtype(bool):
        return x != 0
    if dtype in (np.dtype(np.int32), np.dtype(np.int64)):
        return x.astype(jnp.result_type(int))
    raise InputError(f"cast of a value that depends on the input to {dtype}: expected floats, bool, int32 or int64")


def _cast_like(node, x, like):
    return _of_type(jnp.asarray(x), np.dtype(like.dtype))


def _modulo(node, x, y):
    return jnp.fmod(*of_one_rank(x, y)) if node.get("fmod", 0) else jnp.mod(*of_one_rank(x, y))


OPERATIONS = {
    "Abs": _entrywise(jnp.abs),
    "Acos": _entrywise(jnp.arccos),
    "Acosh": _entrywise(jnp.arccosh),
    "Add": _entrywise(jnp.add),
    "And": _entrywise(jnp.logical_and),
    "Asin": _entrywise(jnp.arcsin),
    "Asinh": _entrywise(jnp.arcsinh),
    "Atan": _entrywise(jnp.arctan),
    "Atanh": _entrywise(jnp.arctanh),
    "Cast": _with_options(_cast),
    "CastLike": _with_options(_cast_like),
    "Ceil": _entrywise(jnp.ceil),
    "Celu": _with_options(_celu),
    "Clip": OnnxOperation(_clip, _broadcasts_after_batch, static=(1, 2)),
    "Cos": _entrywise(jnp.cos),
    "Cosh": _entrywise(jnp.cosh),
    "Div": _entrywise(jnp.divide),
    "Elu": _with_options(_elu),
    "Equal": _entrywise(jnp.equal),
    "Erf": _entrywise(jax.scipy.special.erf),
    "Exp": _entrywise(jnp.exp),
    "Floor": _entrywise(jnp.floor),
    "Gelu": _with_options(_gelu),
    "Greater": _entrywise(jnp.greater),
    "GreaterOrEqual": _entrywise(jnp.greater_equal),
    "HardSigmoid": _with_options(_hard_sigmoid),
    "HardSwish": _entrywise(lambda x: x * jnp.clip(x / 6 + 0.5, 0.0, 1.0)),
    "LeakyRelu": _with_options(_leaky_relu),
    "Less": _entrywise(jnp.less),
    "LessOrEqual": _entrywise(jnp.less_equal),
    "Log": _entrywise(jnp.log),
    "Max": _folded(jnp.maximum),
    "Mean": _entrywise(lambda *operands: functools.reduce(jnp.add, operands) / len(operands)),
    "Min": _folded(jnp.minimum),
    "Mish": _entrywise(lambda x: x * jnp.tanh(jax.nn.softplus(x))),
    "Mod": _with_options(_modulo),
    "Mul": _entrywise(jnp.multiply),
    "Neg": _entrywise(jnp.negative),
    "Not": _entrywise(jnp.logical_not),
    "Or": _entrywise(jnp.logical_or),
    "PRelu": _entrywise(_prelu),
    "Pow": _entrywise(_power),
    "Reciprocal": _entrywise(lambda x: 1 / x),
    "Relu": _entrywise(jax.nn.relu),
    "Round": _entrywise(jnp.round),
    "Selu": _with_options(_selu),
    "Shrink": _with_options(_shrink),
    "Sigmoid": _entrywise(jax.nn.sigmoid),
    "Sign": _entrywise(jnp.sign),
    "Sin": _entrywise(jnp.sin),
    "Sinh": _entrywise(jnp.sinh),
    "Softplus": _entrywise(jax.nn.softplus),
    "Softsign": _entrywise(jax.nn.soft_sign),
    "Sqrt": _entrywise(jnp.sqrt),
    "Sub": _entrywise(jnp.subtract),
    "Sum": _folded(jnp.add),
    "Swish": _with_options(_swish),
    "Tan": _entrywise(jnp.tan),
    "Tanh": _entrywise(jnp.tanh),
    "ThresholdedRelu": _with_options(lambda node, x: jnp.where(x > node.get("alpha", 1.0), x, 0.0)),
    "Where": _entrywise(jnp.where),
    "Xor": _entrywise(jnp.logical_xor),
}
