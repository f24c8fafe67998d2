"""The rows of a backward pass that bounds the entries of a node, in blocks at one place each, the idle ones last."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.windows import Functional, Places, frames, held, single, tracked

BLOCK = 8  # entries that share a window, and the planes that are read there
CACHED = 2**20  # entries of functionals that are assumed to fit a processor's cache


def window_axes(graph: Graph, node: Node) -> tuple[int, ...]:
    """The axes along which rows of a node go on windows; none if these would save less than half of the entries."""
    axes = tracked(graph, node)
    reached = list(frames(graph, node, single(node, axes))) if axes else []
    return axes if 2 * sum(held(*pair) for pair in reached) <= sum(below.size for below, _ in reached) else ()


@dataclasses.dataclass(frozen=True)
class Rows:
    """One row for each entry of a node and for its negative.

    axes: of the node along which rows have windows, in ascending order.
    """

    node: Node
    axes: tuple[int, ...]

    @property
    def _shape(self):
        """Lengths of the axes, 1 for the batch axis."""
        return [1 if i == self.node.batch_axis else n for i, n in enumerate(self.node.value.shape)]

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

    def blocks(self, idle, most: int) -> jax.Array:
        """Entries of the node in blocks at one place, [chunk, block, entry], those with few idle entries first.

        Numbers from the size of the node on stand for no entry.

        Args:
          idle: mask of the entries, [size].
          most: entries in a chunk.
        """
        size = self.node.size
        entries = np.arange(size).reshape(self._shape)
        others = [i for i in range(entries.ndim) if i not in self.axes]
        by_place = np.transpose(entries, (*self.axes, *others)).reshape(self.places, -1)
        each = by_place.shape[1]
        block = each if not self.axes else min(each, BLOCK)
        if not self.axes:
            block = -(-each // -(-each // min(each, most)))
        # The idle entries of a place come last.
        order = jnp.argsort(idle[by_place], 1, stable=True)
        ordered = jnp.take_along_axis(jnp.asarray(by_place), order, 1)
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
        node, shape = self.node, self._shape
        first = jnp.where(entries < node.size, entries, 0)[:, 0]
        indices = jnp.unravel_index(first, shape)
        at = jnp.stack([indices[i] for i in self.axes], 1) if self.axes else jnp.zeros((len(entries), 0), jnp.int32)
        others = [1 if i in self.axes else n for i, n in enumerate(shape)]
        inner = jnp.unravel_index(entries, shape)
        number = jnp.ravel_multi_index([jnp.where(n == 1, 0, i) for n, i in zip(others, inner, strict=True)], others, mode="clip")
        number = jnp.where(entries < node.size, number, -1)
        rows = jax.nn.one_hot(number, math.prod(others), dtype=node.value.dtype)
        rows = jnp.concatenate([rows, -rows], 1).reshape(-1, *others)
        return Functional(node, jnp.moveaxis(rows, 0, node.batch_axis), self.frame, Places(at.astype(jnp.int32), self.counts))
