"""Functionals of a node that are held on windows: the entries that their rows depend on, rather than all.

A row of a backward pass is a functional of one entry of its target. Below a convolution it is zero outside of the patch that the
entry sees, its window. Rows go in blocks; the rows of a block have their entries at one place of the target, and so one window.
On an axis with a `Span`, the window of the block at place p starts at p * stride + offset, and may reach over the map's border.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Graph, Linear, Node


class Span(NamedTuple):
    """The windows along an axis: `size` entries from place * stride + offset, by the place along one coordinate."""

    size: int
    stride: int
    offset: int
    coordinate: int

    def start(self, at: Sequence[jax.Array], border: int = 0) -> jax.Array:
        """The first entry of the window at a place, given by coordinate, on an axis with `border` entries added in front."""
        place, first = at[self.coordinate], self.offset + border
        place = place if self.stride == 1 else place * self.stride
        return place if first == 0 else place + first

    def ends(self, count: int) -> tuple[int, int]:
        """The first entry of all windows, and the one after the last, for `count` places."""
        return self.offset, (count - 1) * self.stride + self.offset + self.size


Frame = tuple[Span | None, ...]  # by axis; None where all entries are held


@dataclasses.dataclass(frozen=True)
class Places:
    """The places of blocks.

    blocks: their number.
    at: by coordinate, the place of each block, [block].
    counts: of the places along each coordinate.
    """

    blocks: int
    at: tuple[jax.Array, ...]
    counts: tuple[int, ...]

    def starts(self, span: Span) -> jax.Array:
        """The first entries of the windows of all blocks along an axis: [block]."""
        return span.start(self.at)

    def outside(self, span: Span, size: int) -> tuple[int, int]:
        """The entries by which windows reach over the borders of an axis of `size` entries."""
        first, end = span.ends(self.counts[span.coordinate])
        return max(0, -first), max(0, end - size)


@dataclasses.dataclass(frozen=True)
class Functional:
    """Functionals of a node.

    rows: [..., row, batch, ...], with the axis of rows in front of the batch axis; batch is 1 where all examples have the same.
      Rows are ordered by block.
    frame: where the entries of `rows` lie.
    is_clean: whether entries outside of the map are zero.
    """

    node: Node
    rows: jax.Array
    frame: Frame
    places: Places
    is_clean: bool = True

    @property
    def is_dense(self) -> bool:
        return not any(self.frame)

    @property
    def is_of_each(self) -> bool:
        """Whether `rows` has an entry for each example."""
        axis = self.node.batch_axis
        return self.rows.shape[axis + 1] == self.node.value.shape[axis]

    @property
    def array(self) -> jax.Array:
        """All entries for each example: [row, *node shape]."""
        held = self.whole(range(len(self.frame))).for_each_example()
        return jnp.moveaxis(held.rows, self.node.batch_axis, 0)

    @property
    def blocks(self) -> int:
        return self.places.blocks

    def read(self, x, fill: float = 0.0) -> jax.Array:
        """x, of the node's shape or one that broadcasts to it, on the windows: [..., row or 1, batch, ...].

        `fill` stands outside of the map, except along axes that are broadcast.
        Axes in front of those of the node stay in front.
        """
        return self._read(x, fill, x.ndim - self.node.value.ndim)

    def read_planes(self, x, leading: int = 0) -> jax.Array:
        """`read` of coefficients or gaps [(row,) *leading axes, *node shape].

        leading: number of axes between that of the rows, if there is one, and those of the node.
        """
        if x.ndim == self.node.value.ndim + leading:
            return self._read(x, 0.0, leading)
        axis = self.node.batch_axis + leading
        if self.is_dense:
            return jnp.moveaxis(x, 0, axis)
        if len(x) == 1:
            return self._read(x[0], 0.0, leading)
        by_block = x.reshape(self.blocks, -1, *x.shape[1:])
        read = jax.vmap(lambda x, at: self.slice(x, at, 0.0, leading + 1), (0, 0))(by_block, self.places.at)
        return jnp.moveaxis(read.reshape(-1, *read.shape[2:]), 0, axis)

    def _read(self, x, fill, leading):
        axis = self.node.batch_axis + leading
        own = x.shape[leading:]
        if all(span is None or n < size for span, n, size in zip(self.frame, own, self.node.value.shape, strict=True)):
            return jnp.expand_dims(x, axis)
        windows = jax.vmap(lambda at: self.slice(x, at, fill, leading), out_axes=axis)(self.places.at)
        per_block = self.rows.shape[self.node.batch_axis] // self.blocks
        shape = windows.shape
        spread = jnp.broadcast_to(jnp.expand_dims(windows, axis + 1), (*shape[: axis + 1], per_block, *shape[axis + 1 :]))
        return spread.reshape(*shape[:axis], -1, *shape[axis + 1 :])

    def slice(self, x, at, fill: float = 0.0, leading: int = 0) -> jax.Array:
        """The window of x [*leading axes, *node shape] at one place."""
        starts, sizes, borders = [jnp.int32(0)] * leading, list(x.shape[:leading]), [(0, 0, 0)] * leading
        for span, size, whole in zip(self.frame, x.shape[leading:], self.node.value.shape, strict=True):
            span = span if size == whole else None
            low, high = (0, 0) if span is None else self.places.outside(span, size)
            borders.append((low, high, 0))
            starts.append(jnp.int32(0) if span is None else span.start(at, low))
            sizes.append(size if span is None else span.size)
        padded = lax.pad(x, jnp.asarray(fill, x.dtype), borders)
        return lax.dynamic_slice(padded, starts, sizes, allow_negative_indices=False)

    def clean(self) -> "Functional":
        """This functional with zeros outside of the map."""
        if self.is_clean:
            return self
        rows, axis = self.rows, self.node.batch_axis
        per_block = rows.shape[axis] // self.blocks
        for i, (span, size) in enumerate(zip(self.frame, self.node.value.shape, strict=True)):
            if span is not None and any(self.places.outside(span, size)):
                entries = self.places.starts(span)[:, None, None] + np.arange(span.size)[None, None]
                inside = jnp.broadcast_to((entries >= 0) & (entries < size), (self.blocks, per_block, span.size))
                inside = lax.optimization_barrier(inside.reshape(-1, span.size))
                mask = inside if axis <= i else inside.T
                others = [a for a in range(rows.ndim) if a not in (axis, i + (axis <= i))]
                rows = jnp.where(jnp.expand_dims(mask, others), rows, 0)
        return dataclasses.replace(self, rows=rows, is_clean=True)

    def whole(self, axes) -> "Functional":
        """This functional with all entries along some axes."""
        axes = [i for i in axes if self.frame[i] is not None]
        if not axes:
            return self
        axis = self.node.batch_axis
        by_block = jnp.moveaxis(self.rows, axis, 0)
        by_block = by_block.reshape(self.blocks, -1, *by_block.shape[1:])
        pads = {i: self.places.outside(self.frame[i], self.node.value.shape[i]) for i in axes}
        shape = list(by_block.shape[1:])
        for i, (low, high) in pads.items():
            shape[i + 1] = self.node.value.shape[i] + low + high

        def placed(rows, at):
            starts = [jnp.int32(0)] * len(shape)
            for i, (low, _) in pads.items():
                span = self.frame[i]
                starts[i + 1] = span.start(at, low)
            return lax.dynamic_update_slice(jnp.zeros(shape, rows.dtype), rows, starts, allow_negative_indices=False)

        spread = jax.vmap(placed)(by_block, self.places.at)
        for i, (low, _) in pads.items():
            spread = lax.slice_in_dim(spread, low, low + self.node.value.shape[i], axis=i + 2)
        rows = jnp.moveaxis(spread.reshape(-1, *spread.shape[2:]), 0, axis)
        frame = tuple(None if i in axes else span for i, span in enumerate(self.frame))
        return dataclasses.replace(self, rows=rows, frame=frame, is_clean=self.is_clean or not any(frame))

    def settled(self) -> "Functional":
        """This functional, without windows if they are not much smaller than the map."""
        return self if settled(self.node, self.frame) == self.frame else self.whole(range(len(self.frame)))

    def for_each_example(self) -> "Functional":
        """This functional with an array of rows for each example."""
        axis = self.node.batch_axis
        shape = list(self.rows.shape)
        shape[axis + 1] = self.node.value.shape[axis]
        return dataclasses.replace(self, rows=jnp.broadcast_to(self.rows, shape))

    def __add__(self, other: "Functional") -> "Functional":
        frame = common(self.frame, other.frame)
        a, b = self._within(frame), other._within(frame)
        return dataclasses.replace(a, rows=a.rows + b.rows, is_clean=a.is_clean and b.is_clean)

    def _within(self, frame: Frame) -> "Functional":
        """This functional on windows that hold its own."""
        held = self.whole([i for i, span in enumerate(frame) if span is None])
        borders = [(0, 0)] * held.rows.ndim
        for i, (own, span) in enumerate(zip(held.frame, frame, strict=True)):
            if own is not None and span is not None:
                before = own.offset - span.offset
                borders[i + (i >= self.node.batch_axis)] = (before, span.size - own.size - before)
        rows = held.rows if not any(map(any, borders)) else jnp.pad(held.rows, borders)
        return dataclasses.replace(held, rows=rows, frame=frame)


def common(a: Frame, b: Frame) -> Frame:
    """The smallest windows that hold both."""
    return tuple(map(_hull, a, b))


def _hull(a: Span | None, b: Span | None) -> Span | None:
    if a is None or b is None or (a.stride, a.coordinate) != (b.stride, b.coordinate):
        return None
    first = min(a.offset, b.offset)
    return a._replace(offset=first, size=max(a.offset + a.size, b.offset + b.size) - first)


def held(node: Node, frame: Frame) -> int:
    """Number of entries of one example that a row holds."""
    shape = node.value.shape
    return math.prod(
        1 if i == node.batch_axis else n if s is None else s.size for i, (n, s) in enumerate(zip(shape, frame, strict=True))
    )


def settled(node: Node, frame: Frame) -> Frame:
    """The frame, or that of all entries if windows hold more than half as many, and so save little."""
    return frame if 2 * held(node, frame) <= node.size else (None,) * len(frame)


def frames(graph: Graph, target: Node, frame: Frame, *, to_relaxed: bool = False) -> Iterator[tuple[Node, Frame]]:
    """The nodes that a backward pass from `target` reaches, each with the frame of its functional.

    to_relaxed: stop at the first relaxed nodes.
    """
    pending = {target: frame}
    for node in reversed(graph.nodes[: graph.nodes.index(target) + 1]):
        if node not in pending:
            continue
        frame = settled(node, pending.pop(node))
        yield node, frame
        operation = node.operation
        if operation is None or (to_relaxed and not isinstance(operation, Linear)):
            continue
        for parent, reached in zip(node.parents, frames_of_parents(node, frame), strict=True):
            pending[parent] = common(pending[parent], reached) if parent in pending else reached


def frames_of_parents(node: Node, frame: Frame) -> list[Frame]:
    """The frames of functionals on the parents, from that of one on a node."""
    if not isinstance(node.operation, Linear):
        return [((None,) * (p.value.ndim - node.value.ndim) + frame) for p in node.parents]
    windowed = node.operation.windowed
    if windowed is None or not any(frame):
        return [(None,) * p.value.ndim for p in node.parents]
    whole = windowed.whole(frame)
    return windowed.reach(tuple(None if i in whole else span for i, span in enumerate(frame)))


def tracked(graph: Graph, target: Node) -> tuple[int, ...]:
    """The axes of a node along which its rows have windows at all of the first relaxed nodes, and inputs, below it."""
    axes = tuple(i for i, n in enumerate(target.value.shape) if i != target.batch_axis and n > 1)
    while axes:
        kept = set(range(len(axes)))
        for node, frame in frames(graph, target, single(target, axes), to_relaxed=True):
            if node.operation is None or not isinstance(node.operation, Linear):
                kept &= {span.coordinate for span in frame if span is not None}
        if len(kept) == len(axes):
            break
        axes = tuple(axis for i, axis in enumerate(axes) if i in kept)
    return axes


def single(node: Node, axes: tuple[int, ...]) -> Frame:
    """The frame of single entries along some axes, which are coordinates in their order."""
    return tuple(Span(1, 1, 0, axes.index(i)) if i in axes else None for i in range(node.value.ndim))
