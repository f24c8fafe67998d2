"""Networks in ONNX files as JAX functions of a batch of inputs, each example by itself.

A graph of ONNX has a batch axis like any other, and files often fix it at 1. Here every value is read as that of one example, by
the shapes of the file, and the batch comes on top: where the first axis of a value is 1 long the batch takes its place, else it
stands before all axes. An operation that mixes its first axis with others runs for one example at a time, under `jax.vmap`.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.onnx_file import OnnxGraph, OnnxNode, read_graph
from dsrna_jax.interchange.operations import ALL
from dsrna_jax.interchange.operations.registry import OnnxOperation, Operand, Shape

_SHAPES = {"Shape", "Size"}
_OF_NEWEST_OPSET = {"Softmax", "LogSoftmax"}  # computed so by the reference implementation in files of any opset


class _Step(NamedTuple):
    """A node that depends on the input. route: "reshape", "batch" (all examples at once) or "example" (under vmap)."""

    node: OnnxNode
    operation: OnnxOperation
    route: str
    shapes: tuple[Shape, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network of an ONNX file. `network(x)` is `network.apply(network.weights, x)`.

    x is [batch, *example_shape]: `input_shape` without its first axis where that is 1 long, else with it. So is the output.
    It computes in the type of x, float32 or float64, whatever the type of the weights; casts between these types do nothing.

    weights: its floating-point constants of more than one entry, by name, after operations on constants alone.
    input_shape, output_shape: of one example, as the file has them: the batch axis is 1 long.
    opset: version of ONNX's operators.
    """

    weights: dict[str, np.ndarray] = dataclasses.field(repr=False)
    input_name: str
    input_shape: Shape
    output_name: str
    output_shape: Shape
    opset: int
    path: Path
    _constants: dict[str, np.ndarray] = dataclasses.field(repr=False)
    _steps: tuple[_Step, ...] = dataclasses.field(repr=False)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The output [batch, ...] for x [batch, *example_shape]."""
        return self.apply(self.weights, x)

    @property
    def example_shape(self) -> Shape:
        """Shape of an example of x."""
        return _without_batch(self.input_shape)

    @property
    def example_output_shape(self) -> Shape:
        """Shape of the output of an example."""
        return _without_batch(self.output_shape)

    @property
    def dtype(self) -> np.dtype:
        """The type that holds all its numbers: float32, or float64 if some would be rounded."""
        arrays = [a for a in (*self.weights.values(), *self._constants.values()) if a.dtype.kind == "f"]
        return np.dtype(np.float32 if all(map(fits_float32, arrays)) else np.float64)

    @property
    def function(self) -> Partial:
        """The network as a pytree, whose leaves are its weights: one compiled program serves all files of these operations."""
        return Partial(_Evaluated(self, self._digest()), self.weights)

    def _digest(self) -> bytes:
        """Fingerprint of all but the weights."""
        digest = hashlib.sha256(repr((self.input_name, self.input_shape, self.output_name, self.opset)).encode())
        for step in self._steps:
            digest.update(step.node.proto.SerializeToString(deterministic=True))
        for name, array in sorted(self._constants.items()):
            digest.update(repr((name, array.dtype, array.shape)).encode() + array.tobytes())
        return digest.digest()

    def apply(self, weights: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """The output [batch, ...] for x [batch, *example_shape], with other weights of the same shapes; whole numbers as floats.

        Raises: InputError if x has another shape, or is neither float32 nor float64.
        """
        if tuple(jnp.shape(x)[1:]) != self.example_shape or jnp.ndim(x) == 0:
            raise InputError(f"x is {list(jnp.shape(x))}: expected [batch, {', '.join(map(str, self.example_shape))}]")
        x = jnp.asarray(x)
        if x.dtype not in (jnp.float32, jnp.float64):
            raise InputError(f"x is {x.dtype}: expected float32 or float64")
        values = {self.input_name: (x, self.input_shape)}
        for step in self._steps:
            with _named(step.node, self.path):
                results = _computed(step, weights, self._constants, values, x.dtype)
            values.update({name: pair for name, pair in zip(step.node.outputs, results, strict=False) if name})
        output = values[self.output_name][0]
        return output if jnp.issubdtype(output.dtype, jnp.floating) else output.astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class _Evaluated:
    """A function of weights and x, equal for networks of the same operations."""

    network: OnnxNetwork = dataclasses.field(compare=False)
    digest: bytes

    def __call__(self, weights, x):
        return self.network.apply(weights, x)


def fits_float32(array: np.ndarray) -> bool:
    """Whether float32 holds all numbers of an array."""
    with np.errstate(over="ignore"):
        return np.array_equal(array.astype(np.float32), array, equal_nan=True)


def read(path: str | os.PathLike, output: str | None = None) -> OnnxNetwork:
    """The network in a file .onnx or .onnx.gz.

    Args:
      path: of the file.
      output: name of the graph's output to keep; may be left out if there is one.
    Raises: InputError for a file that `read_graph` refuses, and for an operation that is not known, does not fit its operands, or
      takes a shape from the values of the input; the message names the node.
    """
    try:
        return _planned_network(read_graph(path, output))
    except InputError as error:
        raise InputError(" ".join(str(error).split())) from error  # names in a file may have line breaks


def _planned_network(graph: OnnxGraph) -> OnnxNetwork:
    shape = tuple(1 if n is None else n for n in graph.input_shape)
    known, abstract = dict(graph.constants), {graph.input_name: (_abstract(shape), shape)}
    steps, weights = [], {}
    for node in _needed(graph):
        with _named(node, graph.path):
            if not any(name in abstract for name in node.inputs):
                known.update(_folded(node, known))
            elif node.operator in _SHAPES:
                known.update(_shape_of(node, abstract[node.inputs[0]][1]))
            elif node.operator == "CastLike" and node.inputs[0] in known:
                like, _ = abstract[node.inputs[1]]
                known[node.outputs[0]] = known[node.inputs[0]].astype(like.dtype)
            else:
                step = _planned(node, known, abstract)
                weights.update({name: known[name] for name in _weights_of(step, known)})
                steps.append(step)
                abstract.update(_results(step, known, abstract))
    if graph.output_name not in abstract:
        raise InputError(f"{graph.path}: the output {graph.output_name} does not depend on the input {graph.input_name}")
    constants = {name: known[name] for step in steps for name in step.node.inputs if name in known and name not in weights}
    output_shape = abstract[graph.output_name][1]
    return OnnxNetwork(
        weights, graph.input_name, shape, graph.output_name, output_shape, graph.opset, graph.path, constants, tuple(steps)
    )


def _needed(graph: OnnxGraph) -> list[OnnxNode]:
    """The nodes that the output depends on, in order. Raises: InputError if there is none for a value that is used."""
    needed, kept = {graph.output_name}, []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed = (needed - set(node.outputs)) | {name for name in node.inputs if name}
    absent = needed - {*graph.constants, graph.input_name}
    if absent:
        raise InputError(f"{graph.path}: no node before its use computes {min(absent)}")
    return kept[::-1]


def _folded(node: OnnxNode, known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The results of a node whose operands are all constants, by the reference implementation of ONNX."""
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    if node.operator in _OF_NEWEST_OPSET:
        with jax.enable_x64(True):
            result = ALL[node.operator].function(node, jnp.asarray(known[node.inputs[0]]))  # pyright: ignore[reportOptionalCall]
        return {node.outputs[0]: np.asarray(result)}
    given, named = ({name: None for name in names if name} for names in (node.inputs, node.outputs))
    inputs, outputs = ([ValueInfoProto(name=name) for name in names] for names in (given, named))
    graph = helper.make_graph([node.proto], "", inputs, outputs)
    try:
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)]))
    except RuntimeError:  # it has newer versions of the operation alone, and takes the newest for a single node
        evaluator = ReferenceEvaluator(node.proto)
    results = evaluator.run(None, {name: known[name] for name in given})
    return {name: np.asarray(value) for name, value in zip(named, results, strict=True)}


def _shape_of(node: OnnxNode, shape: Shape) -> dict[str, np.ndarray]:
    if node.operator == "Size":
        return {node.outputs[0]: np.array(np.prod(shape), np.int64)}
    return {node.outputs[0]: np.array(shape[node.get("start", 0) : node.get("end", len(shape))], np.int64)}


def _planned(node: OnnxNode, known, abstract) -> _Step:
    """The node as a step. Raises: InputError if its operation is not known, or takes a shape that depends on the input."""
    operation = ALL.get(node.operator)
    if operation is None:
        raise InputError("this operation is not known")
    node.check_attributes()
    for place in operation.static:
        if place < len(node.inputs) and node.inputs[place] in abstract:
            raise InputError(f"its operand {node.inputs[place]} depends on the input of the network: expected a constant")
    operands = [_operand(name, known, abstract) for name in node.inputs]
    if operation.reshapes is not None:
        return _Step(node, operation, "reshape", (operation.reshapes(node, operands),))
    return _Step(node, operation, "batch" if operation.takes_batch(node, operands) else "example", ())


def _operand(name: str, known, abstract) -> Operand | None:
    if not name:
        return None
    if name in abstract:
        shape = abstract[name][1]
        return Operand(shape, None, shape[:1] == (1,))
    return Operand(known[name].shape, known[name], False)


def _weights_of(step: _Step, known) -> list[str]:
    if step.route == "reshape":
        return []
    names = [name for place, name in enumerate(step.node.inputs) if place not in step.operation.static]
    return [name for name in names if name in known and known[name].dtype.kind == "f" and known[name].size > 1]


def _results(step: _Step, known, abstract) -> dict[str, tuple[Any, Shape]]:
    """Abstract values and shapes of the results, for a batch of one."""
    arrays, shapes = {name: value for name, (value, _) in abstract.items()}, []

    def run(arrays):
        values = {name: (array, abstract[name][1]) for name, array in arrays.items()}
        results = _computed(step, {}, known, values, jnp.float32)
        shapes.extend(shape for _, shape in results)
        return [value for value, _ in results]

    values = jax.eval_shape(run, {name: arrays[name] for name in step.node.inputs if name in arrays})
    return {name: (value, shape) for name, value, shape in zip(step.node.outputs, values, shapes, strict=False) if name}


def _computed(step: _Step, weights, constants, values, dtype) -> list[tuple[Any, Shape]]:
    """(value, shape of one example) of every result of a step, for values by name."""
    given, static = step.node.inputs, step.operation.static
    if step.route == "reshape":
        array, _ = values[given[0]]
        return [(array.reshape(len(array), *_without_batch(step.shapes[0])), step.shapes[0])]

    def constant(place, name):
        if not name:
            return None
        array = weights[name] if name in weights else constants[name]
        return array if place in static or array.dtype.kind != "f" else array.astype(dtype)

    places = {place: values[name] for place, name in enumerate(given) if name in values}
    fixed = [None if place in places else constant(place, name) for place, name in enumerate(given)]

    def run(arrays):
        operands = [arrays.get(place, fixed[place]) for place in range(len(given))]
        results = step.operation.function(step.node, *operands)  # pyright: ignore[reportOptionalCall]
        return results if isinstance(results, tuple) else (results,)

    if step.route == "batch":
        return [(y, (1, *y.shape[1:])) for y in run({place: array for place, (array, _) in places.items()})]
    whole = {place: array.reshape(len(array), *shape) for place, (array, shape) in places.items()}
    results = jax.vmap(run)(whole)
    return [(y.reshape(len(y), *_without_batch(y.shape[1:])), y.shape[1:]) for y in results]


def _without_batch(shape: Shape) -> Shape:
    return shape[1:] if shape[:1] == (1,) else shape


def _abstract(shape: Shape) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *_without_batch(shape)), jnp.float32)


@contextlib.contextmanager
def _named(node: OnnxNode, path: Path) -> Iterator[None]:
    """Turns the errors of an operation into an InputError in one line, which names the file and the node."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}, node {node.title}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}, node {node.title} does not fit its operands: {text}") from error
