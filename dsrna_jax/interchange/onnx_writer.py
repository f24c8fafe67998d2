"""JAX functions as ONNX files, for a batch of any size: the jaxpr is traced at two batch sizes and written node by node.

An axis whose length differs between the two traces follows the batch. What depends on constants alone is computed while writing.
"""

import operator
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dsrna_jax.bounds.jaxprs import called_jaxpr, consts_and_carries
from dsrna_jax.errors import InputError
from dsrna_jax.extras import packages_for
from dsrna_jax.files import replacing
from dsrna_jax.interchange.emission import ALL
from dsrna_jax.interchange.emission.graph_writer import OPSET, GraphWriter, Tensor, Value
from dsrna_jax.kernels.equations import evaluated

_SIZES = (3, 5)  # of the batch, in the two traces
_OTHER_NUMBERS = "the function computes with other numbers at other batch sizes: expected one of each example by itself"


def write(
    f: Callable[[jax.Array], jax.Array],
    example_shape: Sequence[int],
    path: str | os.PathLike,
    *,
    input_name: str = "input",
    output_name: str = "output",
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes f as an ONNX file (opset 17, float32) whose input is [batch, *example_shape], with any batch.

    Args:
      f: maps float32 [batch, *example_shape] to one array [batch, ...], for any batch; its weights become constants.
      example_shape: shape of an example.
      path: of the file, which is replaced as a whole or not at all.
      input_name, output_name: in the file.
      metadata: texts that are kept in the file by name.
    Raises: InputError if the package onnx is absent, or f has an operation that cannot be written, which is named.
    """
    model = as_model(f, example_shape, input_name, output_name, metadata or {})
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def as_model(f, example_shape: Sequence[int], input_name: str, output_name: str, metadata: dict[str, str]) -> Any:
    """The `onnx.ModelProto` of f; arguments and errors as those of `write`. Raises: InputError."""
    with packages_for("writing ONNX"):
        from onnx import TensorProto, checker, helper, numpy_helper
    shapes = [jax.ShapeDtypeStruct((size, *example_shape), np.float32) for size in _SIZES]
    with jax.default_matmul_precision("float32"):
        first, second = (jax.make_jaxpr(f)(shape) for shape in shapes)
    writer = GraphWriter(input_name)
    batched = (-1, *example_shape)
    results = [both.value for both in _interpreted(writer, first, second, [_Both(Tensor(input_name, batched, batched))])]
    if len(results) != 1 or not isinstance(results[0], Tensor) or results[0].shape[:1] != (-1,):
        raise InputError(f"expected a function with one output [batch, ...] that depends on x, got {len(results)} outputs")
    output = writer.whole(results[0])
    writer.nodes.append(helper.make_node("Identity", [output.name], [output_name], name="Identity_output"))
    sides = [(input_name, batched), (output_name, output.shape)]
    inputs, outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]]) for name, shape in sides)
    nodes, arrays = writer.needed(output_name)
    constants = [numpy_helper.from_array(array, name) for name, array in arrays]
    graph = helper.make_graph(nodes, "dsrna_jax", [inputs], [outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="dsrna_jax")
    helper.set_model_props(model, metadata)
    checker.check_model(model)
    return model


class _Both(NamedTuple):
    """A value at the first batch size, and its twin at the other if it is a constant."""

    value: Value
    twin: Any = None

    @property
    def is_same(self) -> bool:
        """Whether it is the same number at both, or no constant."""
        if isinstance(self.value, Tensor):
            return True
        a, b = self.value, self.twin
        return a.shape == b.shape and bool(np.all((a == b) | (a != a)))


def _interpreted(writer: GraphWriter, closed, other, inputs: Sequence[_Both]) -> list[_Both]:
    """The outputs of a closed jaxpr; `other` is its trace at the other batch size."""
    values: dict[Any, _Both] = {}

    def of(atom, twin) -> _Both:
        return _Both(np.asarray(atom.val), np.asarray(twin.val)) if isinstance(atom, core.Literal) else values[atom]

    primitives = ([e.primitive for e in each.jaxpr.eqns] for each in (closed, other))
    if len(closed.consts) != len(other.consts) or operator.ne(*primitives):
        raise InputError("the function does other operations at other batch sizes")
    constants = [_Both(*map(_constant, pair)) for pair in zip(closed.consts, other.consts, strict=True)]
    values.update(zip(closed.jaxpr.constvars, constants, strict=True))
    values.update(zip(closed.jaxpr.invars, inputs, strict=True))
    for equation, twin in zip(closed.jaxpr.eqns, other.jaxpr.eqns, strict=True):
        operands = [of(*atoms) for atoms in zip(equation.invars, twin.invars, strict=True)]
        shapes = [_shape(*pair) for pair in zip(equation.outvars, twin.outvars, strict=True)]
        values.update(zip(equation.outvars, _emitted(writer, equation, twin, operands, shapes), strict=True))
    return [of(*atoms) for atoms in zip(closed.jaxpr.outvars, other.jaxpr.outvars, strict=True)]


def _constant(array) -> Any:
    """A constant as an array of NumPy, or as the key for random numbers that it is."""
    is_key = isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return array if is_key else np.asarray(array)


def _shape(variable, twin) -> tuple[int, ...]:
    """The shape of a value, in which -k stands for k times the batch. Raises: InputError for another dependence on it."""
    shape = []
    for n, m in zip(variable.aval.shape, twin.aval.shape, strict=True):
        factor = n // _SIZES[0]
        if n != m and (n, m) != (factor * _SIZES[0], factor * _SIZES[1]):
            raise InputError(
                f"an axis is {n} long for {_SIZES[0]} examples and {m} for {_SIZES[1]}: expected a multiple of the batch"
            )
        shape.append(n if n == m else -factor)
    if sum(n < 0 for n in shape) > 1:
        raise InputError("two axes of a value follow the batch: expected a function of each example by itself")
    return tuple(shape)


def _emitted(writer: GraphWriter, equation, twin, operands: list[_Both], shapes) -> Sequence[_Both]:
    name, params = equation.primitive.name, equation.params
    is_constant = not any(isinstance(o.value, Tensor) for o in operands)
    if is_constant and all(n >= 0 for shape in shapes for n in shape):
        with jax.ensure_compile_time_eval():
            pairs = [(e, [o[i] for o in operands]) for i, e in enumerate((equation, twin))]
            results = [evaluated(e.primitive, list(map(jnp.asarray, own)), e.params) for e, own in pairs]
        return [_Both(*map(_constant, pair)) for pair in zip(*results, strict=True)]
    if name == "scan":
        return _unrolled(writer, equation, twin, operands)
    inner = called_jaxpr(name, params)
    if inner is not None:
        return _interpreted(writer, inner, called_jaxpr(name, twin.params), operands)
    if name not in ALL:
        raise InputError(f"the operation {name} cannot be written as ONNX")
    if not all(o.is_same for o in operands):
        raise InputError(_OTHER_NUMBERS)
    try:
        return [_Both(value) for value in ALL[name](writer, params, [o.value for o in operands], shapes)]
    except NotImplementedError as error:
        raise InputError(f"the operation {name} cannot be written as ONNX: {error}") from error


def _unrolled(writer: GraphWriter, equation, twin, operands: list[_Both]) -> list[_Both]:
    """A scan, step by step."""
    params = equation.params
    (constants, carry), rows = consts_and_carries(params), params["length"]
    fixed, state, scanned = operands[:constants], operands[constants : constants + carry], operands[constants + carry :]
    collected: list[list[_Both]] = []
    order = range(rows)[:: -1 if params["reverse"] else 1]
    for row in order:
        results = _interpreted(
            writer, params["jaxpr"], twin.params["jaxpr"], [*fixed, *state, *(_row(writer, x, row) for x in scanned)]
        )
        state = results[:carry]
        collected.append(results[carry:])
    stacks = [list(column)[:: -1 if params["reverse"] else 1] for column in zip(*collected, strict=True)]
    return [*state, *(_stacked(writer, stack) for stack in stacks)]


def _row(writer: GraphWriter, both: _Both, row: int) -> _Both:
    if isinstance(both.value, np.ndarray):
        return _Both(both.value[row], both.twin[row])
    value = writer.whole(both.value)
    return _Both(writer.value("Gather", [value, np.array(row, np.int64)], value.shape[1:], axis=0))


def _stacked(writer: GraphWriter, parts: Sequence[_Both]) -> _Both:
    if not all(part.is_same for part in parts):
        raise InputError(_OTHER_NUMBERS)
    wholes = [writer.whole(part.value) for part in parts]
    shape = wholes[0].shape
    return _Both(writer.value("Concat", [writer.reshaped(w, (1, *shape)) for w in wholes], (len(wholes), *shape), axis=0))
