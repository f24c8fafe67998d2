"""Records of ONNX operations: functions of JAX arrays, each with the condition under which it takes a whole batch at once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.onnx_file import OnnxNode

Shape = tuple[int, ...]


class Operand(NamedTuple):
    """An operand of a node, for one example.

    shape: of a value, as the file has it: the batch axis is 1 long.
    constant: its value if it depends on no input of the network; else None.
    is_batched: whether it depends on the input and its first axis is the batch.
    """

    shape: Shape
    constant: np.ndarray | None
    is_batched: bool

    @property
    def is_constant(self) -> bool:
        """Whether the operand does not depend on the input of the network."""
        return self.constant is not None


Operands = Sequence[Operand | None]


class OnnxOperation(NamedTuple):
    """An operation of ONNX.

    function: (node, *operands) -> an array, or a tuple of them, for operands of the file's shapes; None where one is left out.
    takes_batch: (node, operands) -> whether `function` of operands with a batch of any size in place of the first axis is
      `function` of each example. If not, it is called for one example at a time, under vmap.
    static: places of operands that are passed as NumPy arrays and must be constants: shapes, axes, paddings.
    reshapes: (node, operands) -> the shape of the result, for operations that keep entries in order; these need no `function`.
    """

    function: Callable[..., Any] | None = None
    takes_batch: Callable[[OnnxNode, Operands], bool] = lambda node, operands: False
    static: tuple[int, ...] = ()
    reshapes: Callable[[OnnxNode, Operands], Shape] | None = None


def first_is_batched(node: OnnxNode, operands: Operands) -> bool:
    """Whether the first operand alone depends on the input, with the batch as its first axis."""
    first, *others = operands
    return first is not None and first.is_batched and all(o is None or o.is_constant for o in others)


def axis_of(node: OnnxNode, rank: int, default: int, name: str = "axis") -> int:
    """An attribute that names an axis, counted from 0. Raises: InputError if there is no such axis."""
    return counted(int(node.get(name, default)), rank)


def counted(axis: int, rank: int) -> int:
    """An axis, which may be negative, counted from 0. Raises: InputError if there is no such axis."""
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} of a value with {rank} axes")
    return axis % rank


def axis_is_no_batch(node: OnnxNode, operands: Operands) -> bool:
    """Whether the first operand alone depends on the input, and `axis`, 0 if it is left out, is not the batch."""
    return first_is_batched(node, operands) and axis_of(node, len(operands[0].shape), 0) > 0  # pyright: ignore[reportOptionalMemberAccess]


def axes_of(node: OnnxNode, operands: Operands, place: int, rank: int) -> tuple[int, ...] | None:
    """Axes, counted from 0, that a node names by an attribute (older opsets) or by a constant operand; None if it names none.

    Raises: InputError if there is no such axis.
    """
    operand = operands[place] if place < len(operands) else None
    given = node.get("axes") if operand is None else operand.constant
    return None if given is None else tuple(sorted(counted(int(axis), rank) for axis in np.ravel(given)))
