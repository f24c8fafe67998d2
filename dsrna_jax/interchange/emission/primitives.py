"""Primitives of JAX as nodes of ONNX: a table of functions (writer, parameters, operands, shapes of the results) -> results."""

import string
from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax

from dsrna_jax.interchange.emission.graph_writer import GraphWriter, Tensor, Value, broadcast_shape

Shapes = list[tuple[int, ...]]
Emission = Callable[[GraphWriter, dict[str, Any], list[Value], Shapes], list[Tensor]]


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
    "broadcast_in_dim": _broadcast,
    "clamp": _clamped,
    "concatenate": _concatenated,
    "convert_element_type": _converted,
    "copy": _identity,
    "copy_p": _identity,
    "cumsum": _summed_along,
    "dot_general": _product,
    "dynamic_slice": _slice_at,
    "erfc": _composed(("Erf", None, False), ("Sub", 1.0, True)),
    "exp2": _composed(("Pow", 2.0, True)),
    "expand_dims": _reshaped,
    "expm1": _composed(("Exp", None, False), ("Sub", 1.0, False)),
    "gather": _gathered,
    "gather_rows": _gathered_rows,
    "integer_pow": _power,
    "is_finite": _finite,
    "log1p": _composed(("Add", 1.0, False), ("Log", None, False)),
    "max": _maximum,
    "ne": _unequal,
    "optimization_barrier": _identity,
    "pad": _padded,
    "reduce_and": _any_or_all("ReduceMin"),
    "reduce_max": _reduced("ReduceMax"),
    "reduce_min": _reduced("ReduceMin"),
    "reduce_or": _any_or_all("ReduceMax"),
    "reduce_prod": _reduced("ReduceProd"),
    "reduce_sum": _reduced("ReduceSum"),
    "rem": _remainder,
    "reshape": _reshaped,
    "rev": _turned,
    "round": _rounded,
    "rsqrt": _composed(("Sqrt", None, False), ("Reciprocal", None, False)),
    "select_n": _chosen,
    "slice": _sliced,
    "split": _split,
    "square": _square,
    "squeeze": _reshaped,
    "stack": _stacked,
    "stop_gradient": _identity,
    "tile": _tiled,
    "transpose": _transposed,
    "unstack": _unstacked,
}
