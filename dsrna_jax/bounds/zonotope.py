"""Hybrid zonotopes, propagated forwards: for every value a linear map from the input, and a box for the gaps of relaxations.

A deviation is centre + map @ noise + e with ||noise||_p <= 1 and |e| <= box. This costs as many passes as the input has entries,
and for small radii is nearly as tight as backward bounds of every value.

The rounding of a map and a centre becomes part of the box, which grows from layer to layer as intervals do. Where f's arithmetic
does not count (see `rounding`), that box would exceed all else in deep networks, and results alone are widened: by `RESULT`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.maximum import Largest
from dsrna_jax.bounds.rounding import Magnitudes, gamma, length
from dsrna_jax.kernels.reductions import max_over

RESULT = 64  # roundings by which results are widened, an allowance that is not derived


class Zonotope(NamedTuple):
    """centre and box have the shape of the node, map [input entry, *node shape]."""

    centre: jax.Array
    map: jax.Array
    box: jax.Array


class Zonotopes:
    """The zonotopes of a graph's nodes, made in order as they are asked for, and kept.

    boxes: intervals of all nodes by interval arithmetic.
    """

    def __init__(self, graph: Graph, ball: Ball, boxes: Intervals):
        self.nodes, self.norm = graph.nodes, ball.norm
        self.known: dict[Node, Zonotope] = {}
        sizes = [leaf.size for leaf in graph.inputs]
        before = 0
        for leaf, box, size in zip(graph.inputs, ball.boxes, sizes, strict=True):
            directions = jnp.eye(sum(sizes), dtype=leaf.value.dtype)[:, before : before + size]
            directions = directions.reshape(-1, 1, *leaf.value.shape[1:])
            if ball.norm == "linf":
                self.known[leaf] = Zonotope(box.mid, directions * box.radius[None], boxes.error(leaf))
            else:
                radius = ball.radius.reshape(1, -1, *[1] * (leaf.value.ndim - 1))
                zero = jnp.zeros_like(leaf.value)
                directions = jnp.broadcast_to(directions * radius, (len(directions), *zero.shape))
                self.known[leaf] = Zonotope(zero, directions, boxes.error(leaf))
            before += size

    def sides(self, node: Node, intervals: Intervals) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bounds of a node's deviation, given the intervals of it and of all nodes before."""
        for earlier in self.nodes:
            if earlier not in self.known and earlier.index <= node.index:
                self.known[earlier] = self._next(earlier, intervals)
        z = self.known[node]
        radius = self._radius(z) + gamma(RESULT, z.box.dtype) * jnp.abs(z.centre)
        return z.centre - radius, z.centre + radius

    def _radius(self, z: Zonotope):
        """Upper bound of the distance of the zonotope's points from its centre."""
        return (self._size(z.map) + z.box) * (1 + gamma(len(z.map) + RESULT, z.box.dtype))

    def _size(self, directions):
        if self.norm == "linf":
            return jnp.abs(directions).sum(0)
        if self.norm == "l1":
            return max_over(jnp.abs(directions), 0)
        return length(jnp.moveaxis(directions, 0, -1), directions.ndim - 1)

    def _reach(self, z: Zonotope) -> Interval:
        """An interval that holds the zonotope, also where its terms cancel."""
        reach = jnp.abs(z.centre) + self._radius(z)
        return Interval(-reach, reach)

    def _next(self, node: Node, intervals: Intervals) -> Zonotope:
        parents, operation, rounding = [self.known[p] for p in node.parents], node.operation, intervals.rounding
        if isinstance(operation, Linear):
            centre = operation.deviation(*(p.centre for p in parents))
            directions = jax.vmap(operation.deviation)(*(p.map for p in parents))
            boxes = [p.box for p in parents]
            if operation.terms is None or not rounding.counts_f:
                return Zonotope(centre, directions, operation.magnitude(*boxes))
            sizes = (Magnitudes(p, self._reach(z)) for p, z in zip(node.parents, parents, strict=True))
            errors = (rounding.of_interval(each, operation.terms + 2) for each in sizes)
            box = operation.magnitude(*(b + e for b, e in zip(boxes, errors, strict=True)))
            return Zonotope(centre, directions, box + rounding.of_result(intervals.magnitudes(node)))
        if isinstance(operation, Hinge | Largest):
            return self._parallel(node, parents[0], intervals)
        interval = intervals[node]
        half = interval.radius + gamma(4, interval.lower.dtype) * (jnp.abs(interval.lower) + jnp.abs(interval.upper))
        return Zonotope(interval.mid, jnp.zeros((len(parents[0].map), *node.value.shape), node.value.dtype), half)

    def _parallel(self, node, parent, intervals):
        """Between two parallel planes: the slope multiplies the map, and half of their distance is added to the box."""
        interval, reach = intervals[node.parents[0]], self._reach(parent)
        error, units = jnp.zeros_like(node.value), 0.0
        if intervals.rounding.counts_f:
            error, units = intervals.error(node), gamma(8, node.value.dtype)
        if isinstance(node.operation, Largest):
            values = node.parents[0].value - node.value[None]
            greatest, rival = node.operation.greatest(values, interval)
            at_greatest = lambda x: jnp.where(lax.broadcast_to_rank(greatest, x.ndim), x, 0).sum(-node.value.ndim - 1)  # noqa: E731
            excess = jnp.maximum(rival - at_greatest(values + interval.lower), 0) / 2
            centre = at_greatest(parent.centre + values) + excess
            terms = at_greatest(reach.upper + jnp.abs(values)) + jnp.abs(excess) + jnp.where(jnp.isinf(rival), 0, jnp.abs(rival))
            error = error + units * terms
            return Zonotope(centre, at_greatest(parent.map), at_greatest(parent.box) + excess + error)
        planes = node.operation.planes(node, [interval], "parallel")
        (slope,) = planes.upper
        middle, half = (planes.upper_gap - planes.lower_gap) / 2, (planes.upper_gap + planes.lower_gap) / 2
        terms = jnp.abs(slope) * reach.upper + jnp.abs(planes.upper_gap) + jnp.abs(planes.lower_gap)
        error = error + units * terms
        return Zonotope(slope * parent.centre + middle, slope[None] * parent.map, jnp.abs(slope) * parent.box + half + error)
