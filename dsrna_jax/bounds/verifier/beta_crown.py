"""Bounds of sub-problems whose hinges have chosen sides (beta-CROWN: Wang et al. 2021, arXiv:2103.06624).

A sub-problem restricts the region to inputs at which some operands of hinges are at least, or at most, at their kink. The hinge
is linear there, and each restriction s * (t + d) >= 0 enters the bound by a Lagrange multiplier: for multipliers >= 0,
min <c, d> >= min <c, d> - multiplier * s * (t + d). Multipliers and the slopes of undecided hinges are optimised together.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.backward import Relaxed
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.refinement import is_affine
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Penalty, Planes
from dsrna_jax.bounds.rounding import Rounding, gamma, reach_of

# {index of a node: its lower end, upper end and error}, of one example, for the nodes of a graph.
Ends = Mapping[int, tuple[jax.Array, jax.Array, jax.Array]]


def hinges_of(graph: Graph) -> list[Node]:
    """The nodes whose sides can be chosen, in order."""
    return [node for node in graph.nodes if isinstance(node.operation, Hinge)]


def hinge_layers(graph: Graph) -> list[tuple[int, bool]]:
    """The operations whose sides can be chosen: the number of entries of each, and whether its operand is affine in the input."""
    return [(node.size, is_affine(node.parents[0])) for node in hinges_of(graph)]


def flat(x, node: Node) -> jax.Array:
    """x, of the shape of a node, as [batch, entry]."""
    return jnp.moveaxis(x, node.batch_axis, 0).reshape(x.shape[node.batch_axis], -1)


def shaped(entries, nodes: list[Node]) -> list[jax.Array]:
    """The entries [batch, entry] of several nodes, one after the other, in the shapes of the nodes."""
    parts = jnp.split(entries, np.cumsum([node.size for node in nodes])[:-1], axis=1)
    shapes = [(len(entries), *node.value.shape[: node.batch_axis], *node.value.shape[node.batch_axis + 1 :]) for node in nodes]
    return [jnp.moveaxis(part.reshape(shape), 0, node.batch_axis) for part, shape, node in zip(parts, shapes, nodes, strict=True)]


def ends_of(graph: Graph, intervals: Intervals) -> Ends:
    """The intervals and errors of all nodes, to be used for sub-problems."""
    error = lambda node: jnp.broadcast_to(intervals.error(node), node.value.shape)  # noqa: E731
    return {node.index: (intervals[node].lower, intervals[node].upper, error(node)) for node in graph.nodes}


class OfSubproblems(Intervals):
    """The intervals of the whole problem, one example, for a batch of sub-problems, cut where hinges have chosen sides.

    Errors of the whole problem bound those of its parts.
    """

    def __init__(self, graph: Graph, rounding: Rounding, ends: Ends, sides: Mapping[Node, jax.Array]):
        super().__init__(graph, rounding)
        assert ends.keys() == {node.index for node in graph.nodes}, "the graph of a batch is not that of one example"
        for node in graph.nodes:
            lower, upper, error = (jnp.broadcast_to(part, node.value.shape) for part in ends[node.index])
            self[node], self._errors[node] = Interval(lower, upper), error
        for node, side in sides.items():
            parent = node.parents[0]
            lower, upper = self[parent]
            t = parent.value - node.operation.at
            self[parent] = Interval(
                jnp.where(side > 0, jnp.maximum(lower, -t), lower), jnp.where(side < 0, jnp.minimum(upper, -t), upper)
            )


@dataclasses.dataclass(frozen=True)
class Split(Relaxed):
    """The relaxed nodes of sub-problems.

    sides: of each hinge, 1 where its operand is at least at the kink, -1 where it is at most there, 0 where it is open.
    multipliers: >= 0, of the restrictions, in the shape of the sides.
    objectives: coefficients of the operands' deviations in what is bounded, beside the functional of the output.
    """

    sides: Mapping[Node, jax.Array] = dataclasses.field(default_factory=dict)
    multipliers: Mapping[Node, jax.Array] = dataclasses.field(default_factory=dict)
    objectives: Mapping[Node, jax.Array] = dataclasses.field(default_factory=dict)
    is_signed: bool = True

    def planes(self, node: Node) -> Planes:
        if node not in self.made:
            planes = super().planes(node)
            if node in self.multipliers:
                planes = planes._replace(penalty=self.penalty(node))
            self.made[node] = planes
        return self.made[node]

    def penalty(self, node: Node) -> Penalty:
        """The objective and the restrictions of a hinge's operand, these by their multipliers, with what rounding may add."""
        (parent,) = node.parents
        pull = self.multipliers[node] * self.sides[node].astype(parent.value.dtype)
        t = parent.value - node.operation.at
        interval = self.intervals[parent]
        error = self.intervals.error(parent) + gamma(self.intervals.uses[parent] + 8, pull.dtype) * (
            reach_of(interval) + jnp.abs(t)
        )
        objective = self.objectives.get(node, jnp.zeros_like(pull))
        return Penalty(objective - pull, pull * t + (jnp.abs(objective) + jnp.abs(pull)) * lax.stop_gradient(error))
