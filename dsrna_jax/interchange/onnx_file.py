"""ONNX files as plain data: nodes, constants, one input and one output. Needs the package `onnx`, the extra `onnx`."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.extras import packages_for
from dsrna_jax.files import content_of, expanded

_OWN_DOMAINS = ("", "ai.onnx")
NEWEST_OPSET = 24  # the newest whose attributes `operations` knows
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class OnnxNode(NamedTuple):
    """A node of an ONNX graph.

    operator: its op_type, with the domain before it unless it is ONNX's own.
    inputs: names of its operands; "" for one that is left out.
    attributes: numbers, texts, lists and NumPy arrays.
    opset: version of the operators that the file is written for.
    proto: the node as the package `onnx` has it.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    proto: Any = None

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of an attribute, or the default if it is left out."""
        return self.attributes.get(attribute, default)

    def check_attributes(self) -> None:
        """Raises: InputError for an attribute that the operator has not, or has only since an opset after `NEWEST_OPSET`."""
        from onnx import defs

        try:
            known = defs.get_schema(self.operator, min(self.opset, NEWEST_OPSET)).attributes
        except defs.SchemaError as error:
            raise InputError(f"opset {self.opset} has no such operation") from error
        unknown = sorted(set(self.attributes) - set(known))
        if unknown:
            raise InputError(f"its attribute {unknown[0]} is not known: expected those of opset {min(self.opset, NEWEST_OPSET)}")

    @property
    def title(self) -> str:
        """Operator and name of the node, for messages."""
        return f"{self.operator} ({self.name or ', '.join(self.outputs)})"


class OnnxGraph(NamedTuple):
    """A graph of ONNX with one input and one output.

    nodes: in an order in which every operand is computed before it is used.
    constants: the initialisers by name.
    input_shape: its entries are the file's lengths; None for the batch axis, if that has no fixed length.
    """

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, np.ndarray]
    input_name: str
    input_shape: tuple[int | None, ...]
    output_name: str
    opset: int
    path: Path


def read_graph(path: str | os.PathLike, output: str | None = None) -> OnnxGraph:
    """The graph in a file .onnx or .onnx.gz.

    Args:
      path: of the file.
      output: name of the graph's output to keep; may be left out if there is one.
    Raises: InputError if the package onnx is absent, the file cannot be read, or it has another number of inputs or outputs, an
      input that is not of float32 or float64, or an axis of unknown length beside the batch.
    """
    model = _model(expanded(path))
    opset = max((s.version for s in model.opset_import if s.domain in _OWN_DOMAINS), default=1)
    graph = model.graph
    constants = _arrays(graph, path)
    if graph.sparse_initializer:
        raise InputError(f"{path} has sparse initialisers, which are not read: save them dense")
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs ({', '.join(v.name for v in inputs) or 'none'}): expected one")
    outputs = [value.name for value in graph.output]
    if output is None and len(outputs) != 1:
        raise InputError(f"{path} has {len(outputs)} outputs ({', '.join(outputs) or 'none'}): name one by output=")
    if output is not None and output not in outputs:
        raise InputError(f"{path} has no output {output!r}: expected one of {', '.join(outputs)}")
    nodes = tuple(_node(node, opset, path) for node in graph.node)
    return OnnxGraph(nodes, constants, inputs[0].name, _shape(inputs[0], path), output or outputs[0], opset, Path(path))


def read_bytes(path: Path) -> bytes:
    """The contents of a file, unpacked if its name ends in .gz; of `path`.gz if that is there alone.

    Raises: InputError if it cannot be read.
    """
    packed = path.with_name(f"{path.name}.gz")
    path = packed if packed.exists() and not path.exists() else path
    try:
        content = content_of(path, longest=float("inf"))
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is no gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _model(path: Path):
    with packages_for("reading ONNX"):
        import onnx
    from google.protobuf.message import DecodeError

    content = read_bytes(path)
    try:
        model = onnx.load_model_from_string(content)
        if path.suffix != ".gz":
            onnx.load_external_data_for_model(model, str(path.parent))
    except DecodeError as error:
        raise InputError(f"{path} is no ONNX file: {error}") from error
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise InputError(f"cannot read the external data of {path}: {str(error).splitlines()[0]}") from error
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path} is no ONNX file, or holds no network: it has no nodes")
    graph = model.graph
    texts = [text for node in graph.node for text in (node.op_type, node.domain, node.name, *node.input, *node.output)]
    texts += [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    if not all(isinstance(text, str) for text in texts):  # protobuf gives bytes
        raise InputError(f"{path} is no ONNX file: it has a name that is not UTF-8")
    return model


def _arrays(graph, path) -> dict[str, np.ndarray]:
    return {tensor.name: _array(tensor, f"{path}: the initialiser {tensor.name}") for tensor in graph.initializer}


def _array(tensor, what: str) -> np.ndarray:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # of many types: types without a NumPy equivalent, missing or surplus bytes
        raise InputError(f"{what} is damaged: {(str(error).splitlines() or [type(error).__name__])[0]}") from error


def _shape(value, path) -> tuple[int | None, ...]:
    from onnx import helper

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise InputError(f"{path} does not say the shape of its input {value.name}: infer shapes and save it again")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        dtype = None
    if dtype not in _FLOATS:
        raise InputError(f"{path}: the input {value.name} is of type {dtype}: expected float32 or float64")
    shape: list[int | None] = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim]
    if None in shape[1:]:
        axis = shape.index(None, 1)
        raise InputError(
            f"{path}: axis {axis} of the input {value.name} has no fixed length: only the batch, the first, may have none"
        )
    return tuple(shape)


def _node(proto, opset: int, path) -> OnnxNode:
    from onnx import AttributeProto, helper

    attributes = {}
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            value = _array(value, f"{path}: the attribute {attribute.name} of {proto.op_type}")
        elif isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, list) and all(isinstance(entry, bytes) for entry in value):
            value = [entry.decode(errors="replace") for entry in value]
        attributes[attribute.name] = value
    operator = proto.op_type if proto.domain in _OWN_DOMAINS else f"{proto.domain}.{proto.op_type}"
    return OnnxNode(operator, proto.name, tuple(proto.input), tuple(proto.output), attributes, opset, proto)
