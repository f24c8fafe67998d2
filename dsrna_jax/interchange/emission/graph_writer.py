"""An ONNX graph under construction: nodes, constants, and values whose first axis need not be the batch."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

OPSET = 17

Size = int
"""Length of an axis; -k stands for k times the number of examples."""


class Tensor(NamedTuple):
    """A value of the graph.

    own: its shape in the graph, which has ones where it is yet to be repeated.
    shape: the one that it stands for.
    """

    name: str
    own: tuple[Size, ...]
    shape: tuple[Size, ...]


Value = Tensor | np.ndarray


class GraphWriter:
    """Nodes and constants of a graph with one input, `name_of_input` [batch, ...]."""

    def __init__(self, name_of_input: str):
        self.nodes: list[Any] = []
        self.constants: dict[tuple, tuple[str, np.ndarray]] = {}
        self.input = name_of_input
        self._count = 0
        self._batch = ""
        self._unshaped: dict[str, Tensor] = {}  # results of Reshape and of Transpose -> what they were made from
        self._unturned: dict[str, tuple[Tensor, tuple[int, ...]]] = {}

    def named(self, value: Value) -> str:
        """The name of a value; constants of equal contents are kept once."""
        if isinstance(value, Tensor):
            return value.name
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.shape, str(array.dtype), array.tobytes())
        if key not in self.constants:
            self.constants[key] = (f"constant_{len(self.constants)}", array)
        return self.constants[key][0]

    def node(self, operator: str, operands: Sequence[Value | str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Adds a node; the names of its outputs."""
        from onnx import helper

        names = [operand if isinstance(operand, str) else self.named(operand) for operand in operands]
        results = [f"value_{self._count + i}" for i in range(outputs)]
        self._count += outputs
        self.nodes.append(helper.make_node(operator, names, results, name=f"{operator}_{len(self.nodes)}", **attributes))
        return results

    def value(self, operator: str, operands: Sequence[Value | str], shape: Sequence[Size], **attributes: Any) -> Tensor:
        """Adds a node with one output of that shape."""
        return Tensor(self.node(operator, operands, **attributes)[0], tuple(shape), tuple(shape))

    def whole(self, value: Value) -> Tensor:
        """A value in the shape that it stands for."""
        if not isinstance(value, Tensor):
            return Tensor(self.named(value), value.shape, value.shape)
        if value.own == value.shape:
            return value
        return self.value("Expand", [value, self._lengths(value.shape)], value.shape)

    def reshaped(self, value: Value, shape: Sequence[Size]) -> Tensor:
        """A value in another shape, in which at most one axis follows the batch; reshapes in a row become one."""
        value, shape = self.whole(value), tuple(shape)
        value = self._unshaped.get(value.name, value)
        if value.own == shape:
            return value
        target = np.array([max(n, -1) for n in shape], np.int64)
        result = self.value("Reshape", [value, target], shape)
        self._unshaped[result.name] = value
        return result

    def transposed(self, value: Value, permutation: Sequence[int]) -> Tensor:
        """A value with its axes in another order; transpositions in a row become one."""
        value, order = self.whole(value), tuple(permutation)
        if value.name in self._unturned:
            value, before = self._unturned[value.name]
            order = tuple(before[i] for i in order)
        if order == tuple(range(len(order))):
            return value
        result = self.value("Transpose", [value], [value.shape[i] for i in order], perm=list(order))
        self._unturned[result.name] = value, order
        return result

    def needed(self, output: str) -> tuple[list[Any], list[tuple[str, np.ndarray]]]:
        """The nodes that an output depends on, in order, and the constants that they use."""
        used, kept = {output}, []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.output):
                kept.append(node)
                used.update(node.input)
        return kept[::-1], [(name, array) for name, array in self.constants.values() if name in used]

    def _lengths(self, shape: Sequence[Size]) -> str | np.ndarray:
        """The lengths of the axes as a tensor, by the number of examples in the input."""
        if all(n >= 0 for n in shape):
            return np.array(shape, np.int64)
        if not self._batch:
            (lengths,) = self.node("Shape", [self.input])
            (self._batch,) = self.node("Gather", [lengths, np.array([0], np.int64)])
        parts: list[Value | str] = []
        for n in shape:
            parts.append(np.array([n], np.int64) if n >= 0 else self._times(-n))
        return self.node("Concat", parts, axis=0)[0]

    def _times(self, factor: int) -> str:
        return self._batch if factor == 1 else self.node("Mul", [self._batch, np.array([factor], np.int64)])[0]


Shapes = list[tuple[Size, ...]]
Emission = Callable[[GraphWriter, dict[str, Any], list[Value], Shapes], list[Tensor]]
"""A primitive as nodes: (writer, parameters, operands, shapes of the results) -> results."""


def broadcast_shape(shapes: Sequence[Sequence[Size]]) -> tuple[Size, ...]:
    """The shape of an operation on entries, of operands with as many axes or none."""
    rank = max(map(len, shapes))
    full = [shape for shape in shapes if len(shape) == rank]
    return tuple(next((n for n in lengths if n != 1), 1) for lengths in zip(*full, strict=True))


def size_of(shape: Sequence[Size]) -> int:
    """Number of entries; negative if it follows the batch."""
    return math.prod(shape)
