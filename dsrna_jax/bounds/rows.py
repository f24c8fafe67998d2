"""The rows of a backward pass that bounds the entries of a node, in blocks at one place each, the idle ones last."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.windows import Functional, Places, frames, held, single, tracked

BLOCK = 8  # entries that share a window, and the planes that are read there
CACHED = 2**20  # entries of functionals that are assumed to fit a processor's cache


def window_axes(graph: Graph, node: Node) -> tuple[int, ...]:
    """The axes along which rows of a node go on windows; none if these would save less than half of the entries."""
    axes = tracked(graph, node)
    reached = list(frames(graph, node, single(node, axes))) if axes else []
    return axes if 2 * sum(held(*pair) for pair in reached) <= sum(below.size for below, _ in reached) else ()


def whole_rows_at_once(graph: Graph, count: int) -> int:
    """The number of functionals of the output to bound at a time, of `count` that hold all entries: a divisor of it."""
    room = CACHED // (graph.output.value.shape[graph.output.batch_axis] * max(node.size for node in graph.nodes))
    return max(n for n in range(1, count + 1) if count % n == 0 and (n <= room or n == 1))


@dataclasses.dataclass(frozen=True)
class Rows:
    """One row for each entry of a node and for its negative.

    Entries are numbered place by place: those at one place follow each other, in the order of the other axes.

    axes: of the node along which rows have windows, in ascending order.
    """

    node: Node
    axes: tuple[int, ...]

    @property
    def _shape(self):
        """Lengths of the axes, 1 for the batch axis."""
        return [1 if i == self.node.batch_axis else n for i, n in enumerate(self.node.value.shape)]

    @property
    def _order(self):
        """The axes along which rows have windows, then the others, and the batch axis."""
        batch = self.node.batch_axis
        return *self.axes, *(i for i in range(len(self._shape)) if i not in (*self.axes, batch)), batch

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self._shape[i] for i in self.axes)

    @property
    def places(self) -> int:
        return math.prod(self.counts)

    @property
    def frame(self):
        return single(self.node, self.axes)

    def at_once(self, graph: Graph, chunk: int, batch: int) -> int:
        """Entries of the node to bound at a time, in place of `chunk` ones whose functionals hold all entries."""
        reached = list(frames(graph, self.node, self.frame))
        widest, window = max(node.size for node, _ in reached), max(held(node, frame) for node, frame in reached)
        return max(chunk, min(chunk * widest // window, CACHED // (2 * batch * window)))

    def numbered(self, x) -> jax.Array:
        """x, of the node's shape, by the numbers of entries: [entry, batch]."""
        return jnp.transpose(x, self._order).reshape(self.node.size, -1)

    def blocks(self, idle, most: int) -> jax.Array:
        """Numbers of entries in blocks at one place, [chunk, block, entry], those with few idle entries first.

        Numbers from the size of the node on stand for no entry.

        Args:
          idle: mask of the entries by their numbers, [size].
          most: entries in a chunk.
        """
        size, each = self.node.size, self.node.size // self.places
        block = each if not self.axes else min(each, BLOCK)
        if not self.axes:
            block = -(-each // -(-each // min(each, most)))
        # The idle entries of a place come last.
        order = jnp.argsort(idle.reshape(self.places, each), 1, stable=True)
        ordered = order + each * np.arange(self.places)[:, None]
        ordered = jnp.pad(ordered, ((0, 0), (0, -each % block)), constant_values=size).reshape(-1, block)
        is_idle = jnp.concatenate([idle, jnp.ones(1, bool)])[ordered].all(1)
        ordered = ordered[jnp.argsort(is_idle, stable=True)]
        count = -(-len(ordered) // -(-len(ordered) // max(1, min(len(ordered), most // block))))
        ordered = jnp.pad(ordered, ((0, -len(ordered) % count), (0, 0)), constant_values=size)
        numbers = ordered.reshape(-1)
        distinct = jnp.where(numbers < size, numbers, size + jnp.arange(len(numbers)))
        return distinct.reshape(-1, count, block)

    def functional(self, entries) -> Functional:
        """The functionals of entries [block, entry], and after those of each block their negatives."""
        node, each = self.node, self.node.size // self.places
        number, at = jnp.where(entries < node.size, lax.rem(entries, each), -1), []
        place = lax.div(jnp.where(entries < node.size, entries, 0)[:, 0], each)
        for count in reversed(self.counts):
            at.insert(0, lax.rem(place, count).astype(jnp.int32))
            place = lax.div(place, count)
        others = [1 if i in self.axes else n for i, n in enumerate(self._shape)]
        rows = jax.nn.one_hot(number, each, dtype=node.value.dtype)
        # The barrier keeps XLA from computing rows and places anew in each of their uses, which would take long to compile.
        rows, at = lax.optimization_barrier((jnp.concatenate([rows, -rows], 1).reshape(-1, *others), tuple(at)))
        return Functional(node, jnp.moveaxis(rows, 0, node.batch_axis), self.frame, Places(len(entries), at, self.counts))

    def sides(self, blocks, results) -> tuple[jax.Array, jax.Array]:
        """Results for the functionals of blocks, [chunk, row, batch, ...], by entry: of these, and of their negatives.

        Returns: two arrays of the node's shape, with the axes that are left behind.
        """
        shape, rest = [self._shape[i] for i in self._order[:-1]], results.shape[2:]
        order = *np.argsort(self._order), *range(len(self._order), len(shape) + len(rest))
        place = jnp.argsort(blocks.reshape(-1))[: self.node.size]
        both = results.reshape(-1, 2, blocks.shape[-1], *rest)
        each_side = [both[:, side].reshape(-1, *rest)[place].reshape(*shape, *rest) for side in (0, 1)]
        return jnp.transpose(each_side[0], order), jnp.transpose(each_side[1], order)
