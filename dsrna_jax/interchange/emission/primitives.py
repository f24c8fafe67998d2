"""Primitives of JAX that compute, as nodes of ONNX: on entries, reductions, products of matrices."""

import string

import numpy as np

from dsrna_jax.interchange.emission.graph_writer import Emission, Tensor, Value, broadcast_shape


def _entrywise(operator: str) -> Emission:
    def emit(writer, params, operands, shapes):
        own = broadcast_shape([o.own if isinstance(o, Tensor) else o.shape for o in operands])
        return [Tensor(writer.node(operator, operands)[0], own, shapes[0])]

    return emit


def _composed(*steps: tuple[str, float | None, bool]) -> Emission:
    """Operations one after the other; each takes the value before it and a number, or the number first, or no number."""

    def emit(writer, params, operands, shapes):
        (value,) = operands
        name = writer.named(value)
        for operator, number, is_first in steps:
            pair: list = [name] if number is None else [name, np.array(number, np.float32)]
            (name,) = writer.node(operator, pair[::-1] if is_first else pair)
        return [Tensor(name, value.own if isinstance(value, Tensor) else value.shape, shapes[0])]

    return emit


def _identity(writer, params, operands, shapes):
    return [_as_tensor(writer, operand) for operand in operands]


def _as_tensor(writer, value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(writer.named(value), value.shape, value.shape)


def _maximum(writer, params, operands, shapes):
    """A maximum with 0 is a Relu."""
    for value, other in (operands, operands[::-1]):
        if isinstance(value, Tensor) and isinstance(other, np.ndarray) and not other.any() and other.ndim == 0:
            return [Tensor(writer.node("Relu", [value])[0], value.own, shapes[0])]
    return _entrywise("Max")(writer, params, operands, shapes)


def _clamped(writer, params, operands, shapes):
    low, value, high = operands
    (raised,) = _entrywise("Max")(writer, params, [value, low], shapes)
    return _entrywise("Min")(writer, params, [raised, high], shapes)


def _chosen(writer, params, operands, shapes):
    if len(operands) != 3:
        raise NotImplementedError("a choice among more than two values")
    return _entrywise("Where")(writer, params, [operands[0], operands[2], operands[1]], shapes)


def _unequal(writer, params, operands, shapes):
    (equal,) = _entrywise("Equal")(writer, params, operands, shapes)
    return _entrywise("Not")(writer, params, [equal], shapes)


def _power(writer, params, operands, shapes):
    return _entrywise("Pow")(writer, params, [operands[0], np.array(params["y"], np.float32)], shapes)


def _remainder(writer, params, operands, shapes):
    """With the sign of the dividend."""
    own = broadcast_shape([o.own if isinstance(o, Tensor) else o.shape for o in operands])
    return [Tensor(writer.node("Mod", operands, fmod=1)[0], own, shapes[0])]


def _finite(writer, params, operands, shapes):
    """Neither infinite nor NaN: no difference from itself but 0."""
    (difference,) = _entrywise("Sub")(writer, params, [operands[0], operands[0]], shapes)
    return _entrywise("Equal")(writer, params, [difference, np.zeros((), np.float32)], shapes)


def _square(writer, params, operands, shapes):
    return _entrywise("Mul")(writer, params, [operands[0], operands[0]], shapes)


def _rounded(writer, params, operands, shapes):
    if int(params["rounding_method"]) != 1:
        raise NotImplementedError("rounding away from zero")
    return _entrywise("Round")(writer, params, operands, shapes)


def _converted(writer, params, operands, shapes):
    from onnx import helper

    (value,) = operands
    if params["new_dtype"] == np.bool_:
        return _unequal(writer, params, [value, np.zeros((), np.float32)], shapes)
    if not np.issubdtype(params["new_dtype"], np.floating) or np.dtype(params["new_dtype"]).itemsize < 4:
        raise NotImplementedError(f"conversion to {params['new_dtype']}")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
    return [Tensor(writer.node("Cast", [value], to=kind)[0], value.own, shapes[0])]


def _summed_along(writer, params, operands, shapes):
    value, axis = writer.whole(operands[0]), int(params["axis"])
    if value.shape[axis] < 0:
        raise NotImplementedError("the batch")
    return [writer.value("CumSum", [value, np.array(axis, np.int64)], shapes[0], reverse=int(params["reverse"]))]


def _any_or_all(operator: str) -> Emission:
    """A reduction of truth values, as numbers."""

    def emit(writer, params, operands, shapes):
        value = writer.whole(operands[0])
        numbers = writer.value("Cast", [value], value.shape, to=1)
        (reduced,) = _reduced(operator)(writer, params, [numbers], shapes)
        return [writer.value("Greater", [reduced, np.array(0.5, np.float32)], shapes[0])]

    return emit


def _reduced(operator: str) -> Emission:
    def emit(writer, params, operands, shapes):
        value, axes = writer.whole(operands[0]), [int(axis) for axis in params["axes"]]
        if operator == "ReduceSum":  # its axes are an operand, from opset 13 on
            return [writer.value(operator, [value, np.array(axes, np.int64)], shapes[0], keepdims=0)]
        return [writer.value(operator, [value], shapes[0], axes=axes, keepdims=0)]

    return emit


def _product(writer, params, operands, shapes):
    """A product of matrices, as Einsum unless it is a plain one."""
    (left, right), (batch_left, batch_right) = params["dimension_numbers"]
    operands = [o.astype(np.float32) if isinstance(o, np.ndarray) else o for o in operands]
    a, b = (writer.whole(o) for o in operands)
    if not batch_left and len(left) == 1 and len(b.shape) == 2:
        axis = left[0]
        a = writer.transposed(a, [i for i in range(len(a.shape)) if i != axis] + [axis])
        matrix = (
            operands[1].T
            if isinstance(operands[1], np.ndarray) and right[0] == 1
            else writer.transposed(b, [right[0], 1 - right[0]])
        )
        return [writer.value("MatMul", [a, matrix], shapes[0])]
    letters = iter(string.ascii_lowercase)
    first = [next(letters) for _ in a.shape]
    second = [next(letters) for _ in b.shape]
    for i, j in [*zip(left, right, strict=True), *zip(batch_left, batch_right, strict=True)]:
        second[j] = first[i]
    kept = [first[i] for i in batch_left]
    kept += [x for i, x in enumerate(first) if i not in (*left, *batch_left)]
    kept += [x for j, x in enumerate(second) if j not in (*right, *batch_right)]
    return [writer.value("Einsum", [a, b], shapes[0], equation=f"{''.join(first)},{''.join(second)}->{''.join(kept)}")]


_SINGLE = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "add": "Add", "add_any": "Add", "and": "And", "asin": "Asin",
    "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "div": "Div",
    "eq": "Equal", "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater",
    "le": "LessOrEqual", "log": "Log", "logistic": "Sigmoid", "lt": "Less", "min": "Min", "mul": "Mul", "neg": "Neg",
    "not": "Not", "or": "Or", "pow": "Pow", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "sub": "Sub",
    "tan": "Tan", "tanh": "Tanh", "xor": "Xor",
}  # fmt: skip
EMISSIONS: dict[str, Emission] = {name: _entrywise(operator) for name, operator in _SINGLE.items()} | {
    "clamp": _clamped,
    "convert_element_type": _converted,
    "copy": _identity,
    "copy_p": _identity,
    "cumsum": _summed_along,
    "dot_general": _product,
    "erfc": _composed(("Erf", None, False), ("Sub", 1.0, True)),
    "exp2": _composed(("Pow", 2.0, True)),
    "expm1": _composed(("Exp", None, False), ("Sub", 1.0, False)),
    "integer_pow": _power,
    "is_finite": _finite,
    "log1p": _composed(("Add", 1.0, False), ("Log", None, False)),
    "max": _maximum,
    "ne": _unequal,
    "optimization_barrier": _identity,
    "reduce_and": _any_or_all("ReduceMin"),
    "reduce_max": _reduced("ReduceMax"),
    "reduce_min": _reduced("ReduceMin"),
    "reduce_or": _any_or_all("ReduceMax"),
    "reduce_prod": _reduced("ReduceProd"),
    "reduce_sum": _reduced("ReduceSum"),
    "rem": _remainder,
    "round": _rounded,
    "rsqrt": _composed(("Sqrt", None, False), ("Reciprocal", None, False)),
    "select_n": _chosen,
    "square": _square,
    "stop_gradient": _identity,
}
