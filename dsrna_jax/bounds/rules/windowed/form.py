"""The windowed form of an affine operation: which windows of its parents the windows of its result depend on.

It maps functionals of the latter to functionals of the former.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dsrna_jax.bounds.graph import Node, Windowed


class Step(NamedTuple):
    """An axis of a parent along which entry i of the result's `axis` depends on `extent` entries from i * stride + shift."""

    axis: int
    stride: int = 1
    extent: int = 1
    shift: int = 0

    def of(self, frame):
        span = frame[self.axis]
        if span is None:
            return None
        size, offset = (span.size - 1) * self.stride + self.extent, span.offset * self.stride + self.shift
        # int: some of the parameters of JAX's primitives are integers of NumPy.
        return span._replace(size=int(size), stride=int(span.stride * self.stride), offset=int(offset))


Steps = Sequence[Step | None]  # by axis of a parent; None for an axis whose entries are all needed


def stepped(*parents: Steps, pull: Callable[..., list], whole=(), summed=()) -> Windowed:
    """The windowed form of an operation that keeps windows along the axes with a `Step`.

    Args:
      pull: `Windowed.pull`.
      whole: further axes along which all entries of the result are needed.
      summed: axes of the result that no parent has, so that the functional is summed along them.
    """
    kept = [{step.axis for step in steps if step is not None} | set(summed) for steps in parents]
    kept = set.intersection(*kept) - set(whole)

    def reach(frame):
        return [tuple(None if step is None else step.of(frame) for step in steps) for steps in parents]

    def held_whole(frame):
        return [i for i, span in enumerate(frame) if span is not None and i not in kept]

    return Windowed(held_whole, reach, pull)


def derived(deviation: Callable[..., Callable]) -> Callable[..., list]:
    """`Windowed.pull`, from a function of a functional that returns the operation between the windows of parents and result."""
    return lambda functional: transposed(functional, deviation(functional))


def transposed(functional, deviation) -> list:
    """The rows on the windows of the parents, by the operation between windows."""
    node, rows = functional.node, functional.rows
    batch = rows.shape[node.batch_axis + 1]
    shapes = []
    for parent, frame in zip(node.parents, node.operation.windowed.reach(functional.frame), strict=True):
        shape = [n if span is None else span.size for n, span in zip(parent.value.shape, frame, strict=True)]
        shape[parent.batch_axis] = batch
        shapes.append(jax.ShapeDtypeStruct(tuple(shape), parent.value.dtype))
    axes = tuple(p.batch_axis for p in node.parents)
    return list(jax.vmap(jax.linear_transpose(deviation, *shapes), node.batch_axis, axes)(rows))


def elementwise(*pulls: Callable) -> Windowed:
    """The windowed form of an operation whose parents have the result's shape; pulls map a functional to rows of a parent."""
    return Windowed(lambda frame: [], lambda frame: [frame] * len(pulls), lambda f: [pull(f) for pull in pulls], is_local=True)


def broadcasting(parents: Sequence[Node], shape, *pulls: Callable) -> Windowed:
    """`elementwise` for a result of `shape`, which some parents are broadcast to."""
    if all(parent.value.shape == tuple(shape) for parent in parents):
        return elementwise(*pulls)
    spread = [[i for i, n in enumerate(parent.value.shape) if n != shape[i]] for parent in parents]

    def pull(functional):
        parts = [pull(functional) for pull in pulls]
        return [p.sum([axis_of_rows(functional, i) for i in axes], keepdims=True) for p, axes in zip(parts, spread, strict=True)]

    steps = [[None if i in axes else Step(i) for i in range(len(shape))] for axes in spread]
    return stepped(*steps, pull=pull, summed={i for axes in spread for i in axes})


def window_shape(functional) -> tuple[int, ...]:
    """The shape of an example's windows, with the batch axis."""
    shape = list(functional.rows.shape)
    del shape[functional.node.batch_axis]
    return tuple(shape)


def axis_of_rows(functional, axis: int) -> int:
    """The place of a result's axis in the functional's rows, which have their own axis in front of the batch axis."""
    return axis + (axis >= functional.node.batch_axis)


def shape_of(operand) -> tuple[int, ...]:
    """The shape of a node's value, or of a constant."""
    return operand.value.shape if isinstance(operand, Node) else np.shape(operand)
