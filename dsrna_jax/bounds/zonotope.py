"""Hybrid zonotopes, propagated forwards: a linear map from the input for every value, and a box for the gaps of relaxations.

A deviation is centre + map @ noise + e with ||noise||_p <= 1 and |e| <= box. This costs as many passes as the input has entries,
and for small radii is nearly as tight as backward bounds of every value.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.maximum import Largest


class Zonotope(NamedTuple):
    """centre and box have the shape of the node, map [input entry, *node shape]."""

    centre: jax.Array
    map: jax.Array
    box: jax.Array


class Zonotopes:
    """The zonotopes of a graph's nodes, made in order as they are asked for, and kept."""

    def __init__(self, graph: Graph, ball: Ball):
        self.nodes, self.norm = graph.nodes, ball.norm
        self.known: dict[Node, Zonotope] = {}
        sizes = [leaf.size for leaf in graph.inputs]
        before = 0
        for leaf, box, size in zip(graph.inputs, ball.boxes, sizes, strict=True):
            directions = jnp.eye(sum(sizes), dtype=leaf.value.dtype)[:, before : before + size]
            directions = directions.reshape(-1, 1, *leaf.value.shape[1:])
            if ball.norm == "linf":
                centre = jnp.zeros_like(leaf.value) if box.mid is None else box.mid
                self.known[leaf] = Zonotope(centre, directions * box.radius[None], jnp.zeros_like(leaf.value))
            else:
                radius = ball.radius.reshape(1, -1, *[1] * (leaf.value.ndim - 1))
                zero = jnp.zeros_like(leaf.value)
                self.known[leaf] = Zonotope(zero, jnp.broadcast_to(directions * radius, (len(directions), *zero.shape)), zero)
            before += size

    def sides(self, node: Node, intervals) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bounds of a node's deviation, given the intervals of all nodes before it."""
        for earlier in self.nodes:
            if earlier not in self.known and earlier.index <= node.index:
                self.known[earlier] = self._next(earlier, intervals)
        z = self.known[node]
        radius = self._size(z.map) + z.box
        return z.centre - radius, z.centre + radius

    def _size(self, directions):
        if self.norm == "linf":
            return jnp.abs(directions).sum(0)
        if self.norm == "l1":
            return jnp.abs(directions).max(0)
        squares = jnp.square(directions).sum(0)
        return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)

    def _next(self, node: Node, intervals) -> Zonotope:
        parents = [self.known[p] for p in node.parents]
        if isinstance(node.operation, Linear):
            deviation = node.operation.deviation
            return Zonotope(
                deviation(*(p.centre for p in parents)),
                jax.vmap(deviation)(*(p.map for p in parents)),
                node.operation.magnitude(*(p.box for p in parents)),
            )
        if isinstance(node.operation, Hinge | Largest):
            return self._parallel(node, parents[0], intervals)
        interval = node.operation.enclosure(node, [intervals[p] for p in node.parents])
        return self._boxed(interval, parents[0].map, node)

    def _parallel(self, node, parent, intervals):
        """Between two parallel planes: the slope multiplies the map, and half of their distance is added to the box."""
        interval = intervals[node.parents[0]]
        if isinstance(node.operation, Largest):
            values = node.parents[0].value - node.value[None]
            greatest, rival = node.operation.greatest(values, interval)
            at_greatest = lambda x: jnp.where(lax.broadcast_to_rank(greatest, x.ndim), x, 0).sum(-node.value.ndim - 1)  # noqa: E731
            excess = jnp.maximum(rival - at_greatest(values + interval.lower), 0) / 2
            centre = at_greatest(parent.centre + values) + excess
            return Zonotope(centre, at_greatest(parent.map), at_greatest(parent.box) + excess)
        planes = node.operation.planes(node, [interval], "parallel")
        (slope,) = planes.upper
        middle, half = (planes.upper_gap - planes.lower_gap) / 2, (planes.upper_gap + planes.lower_gap) / 2
        return Zonotope(slope * parent.centre + middle, slope[None] * parent.map, jnp.abs(slope) * parent.box + half)

    def _boxed(self, interval, example, node):
        centre = jnp.zeros_like(node.value) if interval.mid is None else interval.mid
        return Zonotope(centre, jnp.zeros((len(example), *node.value.shape), node.value.dtype), interval.radius)
