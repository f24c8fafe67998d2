"""Bounds of sub-problems in which operands lie on parts of their intervals (beta-CROWN: Wang et al. 2021, arXiv:2103.06624).

A neuron is an entry of a hinge, or of a smooth function of one variable. The interval of its operand is cut into pieces at
borders: that of a hinge at its kink, so that it is linear on both; that of a smooth function at several points, so that its
planes come near on each (as in GenBaB: Shi et al. 2024, arXiv:2405.21063). A sub-problem restricts the region to inputs at which
operands lie in some of their pieces. With t the operand less a border, each restriction s * (t + d) >= 0, for s of 1 or -1,
enters the bound by a Lagrange multiplier: for multipliers >= 0, min <c, d> >= min <c, d> - multiplier * s * (t + d). Multipliers
and the planes of neurons are optimised together.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

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
from dsrna_jax.bounds.relaxations.shared import Seen
from dsrna_jax.bounds.rounding import EVALUATION, gamma, reach_of

MOST_CURVES = 6  # each makes the program of sub-problems longer to compile

# {index of a node: its interval and error}, for the nodes of a graph.
Ends = Mapping[int, tuple[Interval, jax.Array]]
# {index of a node with neurons: [border, *shape of one example], values of its operand in ascending order}.
Borders = Mapping[int, jax.Array]


class Layer(NamedTuple):
    """The neurons of one node: their number, whether they are of a hinge, and whether their operand is affine in the input."""

    size: int
    is_hinge: bool
    is_affine: bool


def with_neurons(graph: Graph) -> list[Node]:
    """The nodes whose operands can be cut, in order: hinges, and smooth functions unless these are more than `MOST_CURVES`."""
    nodes = [node for node in graph.nodes if hasattr(node.operation, "borders")]
    hinges = [node for node in nodes if isinstance(node.operation, Hinge)]
    return nodes if len(nodes) - len(hinges) <= MOST_CURVES else hinges


def layers_of(graph: Graph) -> list[Layer]:
    """The layers of neurons, in order."""
    return [Layer(node.size, isinstance(node.operation, Hinge), is_affine(node.parents[0])) for node in with_neurons(graph)]


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
    return {node.index: (intervals[node], error(node)) for node in graph.nodes}


def borders_of(graph: Graph, ends: Ends) -> Borders:
    """The borders of the neurons of one example, from the ends of the whole problem."""
    whole = ((node, node.parents[0]) for node in with_neurons(graph))
    return {node.index: node.operation.borders(parent.value, ends[parent.index][0]) for node, parent in whole}


class Pieces(NamedTuple):
    """The part of its interval on which the operand of each neuron of a node lies, from one piece to another.

    has_first, has_last: whether it is restricted from below, and from above.
    above_first, above_last: the operand at the trace point, less these borders.
    """

    has_first: jax.Array
    has_last: jax.Array
    above_first: jax.Array
    above_last: jax.Array

    @classmethod
    def of(cls, node: Node, borders: jax.Array, first, last) -> "Pieces":
        """The pieces from number `first` to `last`, in the shape of the node."""
        x = node.parents[0].value
        return cls(first > 0, last < len(borders), x - _numbered(borders, first - 1), x - _numbered(borders, last))

    def cut(self, interval: Interval, *, is_exact: bool) -> Interval:
        """The interval of deviations of the operand, cut to the part.

        is_exact: whether a cut is to be where t + d as computed is 0; if not, it is moved outwards by what t may be rounded by.
        """
        at_first, at_last = -self.above_first, -self.above_last
        if not is_exact:
            unit = gamma(2, interval.lower.dtype)
            at_first, at_last = at_first - unit * jnp.abs(at_first), at_last + unit * jnp.abs(at_last)
        return Interval(
            jnp.where(self.has_first, jnp.maximum(interval.lower, at_first), interval.lower),
            jnp.where(self.has_last, jnp.minimum(interval.upper, at_last), interval.upper),
        )


def _numbered(borders, number) -> jax.Array:
    """The borders of these numbers, the nearest for numbers beyond them."""
    chosen = jnp.broadcast_to(borders[0], number.shape)
    for place in range(1, len(borders)):
        chosen = jnp.where(number >= place, borders[place], chosen)
    return chosen


class Restricted(NamedTuple):
    """A batch of sub-problems before their variables are chosen, as arrays alone: by the index of a node.

    ends: those of the whole problem, cut to the parts of neurons. Errors of the whole problem bound those of its parts.
    parts: of each node with neurons.
    known: what the planes of its neurons depend on beside shares.
    """

    ends: Ends
    parts: Mapping[int, Pieces]
    known: Mapping[int, Any]


def restricted(graph: Graph, ends: Ends, borders: Borders, first: Mapping[Node, Any], last: Mapping[Node, Any]) -> Restricted:
    """Sub-problems in which each neuron lies in pieces `first` to `last`.

    Args:
      graph: of as many examples as there are sub-problems.
      ends, borders: of the whole problem, one example.
    """
    assert ends.keys() == {node.index for node in graph.nodes}, "the graph of a batch is not that of one example"
    cut, parts, known = dict(ends), {}, {}
    for node in first:
        parts[node.index] = Pieces.of(node, borders[node.index], first[node], last[node])
        _cut(cut, node, parts[node.index])
    for node in first:
        known[node.index], _ = node.operation.adjustable(node, [cut[node.parents[0].index][0]])
    return Restricted(cut, parts, known)


def cut_further(batch: Restricted, borders: Borders, first, last, is_cut) -> Restricted:
    """Sub-problems in which one neuron of each lies in fewer pieces than in `batch`.

    Args:
      first, last, is_cut: {node: array}, pieces of all neurons, and a mask of the one for which they are others.
    """
    ends, parts, known = dict(batch.ends), dict(batch.parts), dict(batch.known)
    for node in first:
        index = node.index
        parts[index] = Pieces.of(node, borders[index], first[node], last[node])
        interval = _cut(ends, node, parts[index])
        known[index] = _known_where(is_cut[node], node, interval, known[index])
    return Restricted(ends, parts, known)


def _cut(ends: dict[int, tuple[Interval, jax.Array]], node: Node, part: Pieces) -> Interval:
    """Cuts the interval of a node's operand to a part, in `ends`."""
    (parent,) = node.parents
    interval, error = ends[parent.index]
    interval = part.cut(interval, is_exact=isinstance(node.operation, Hinge))
    ends[parent.index] = interval, error
    return interval


def _known_where(mask, node: Node, interval: Interval, otherwise):
    """The arrays that planes depend on: new where the mask holds, at one entry of an example at most, and `otherwise` elsewhere.

    It takes long for smooth functions, so that they are asked for this entry alone.
    """
    (parent,) = node.parents
    if isinstance(node.operation, Hinge):
        return node.operation.adjustable(node, [interval])[0]
    place = flat(mask, node).argmax(1)[:, None]
    taken = lambda x: jnp.take_along_axis(flat(x, node), place, 1)  # noqa: E731
    alone = Seen(taken(node.value), (Seen(taken(parent.value)),))
    known, _ = node.operation.adjustable(alone, [Interval(*map(taken, interval))])
    axes = tuple(axis for axis in range(node.value.ndim) if axis != node.batch_axis)
    return jax.tree.map(lambda new, old: jnp.where(mask, jnp.expand_dims(new[:, 0], axes), old), known, otherwise)


class _Intervals(Intervals):
    """Intervals that are known already."""

    def __init__(self, graph: Graph, ends: Ends):
        super().__init__(graph, EVALUATION)
        for node in graph.nodes:
            interval, error = jax.tree.map(lambda part, node=node: jnp.broadcast_to(part, node.value.shape), ends[node.index])
            self[node], self._errors[node] = interval, error


@dataclasses.dataclass(frozen=True)
class Split(Relaxed):
    """The relaxed nodes of sub-problems.

    multipliers: of the restrictions, in the shape of the node: positive for that from below, negative for that from above.
    objectives: coefficients of the operands' deviations in what is bounded, beside the functional of the output.
    """

    parts: Mapping[int, Pieces] = dataclasses.field(default_factory=dict)
    prepared_planes: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    multipliers: Mapping[Node, jax.Array] = dataclasses.field(default_factory=dict)
    objectives: Mapping[Node, jax.Array] = dataclasses.field(default_factory=dict)
    is_signed: bool = True

    @classmethod
    def of(cls, graph: Graph, sub_problems: Restricted, shares, multipliers, objectives) -> "Split":
        """The relaxed nodes for these variables, each {node: array}; shares as in `relaxations`."""
        ends, parts, known = sub_problems
        variables = {"slopes": shares, "multipliers": multipliers, "objectives": objectives}
        return cls(_Intervals(graph, ends), parts=parts, prepared_planes=known, **variables)

    def known(self, node: Node):
        return self.prepared_planes[node.index]

    def planes(self, node: Node) -> Planes:
        if node not in self.made:
            planes = super().planes(node)
            if node in self.multipliers:
                planes = planes._replace(penalty=self.penalty(node))
            self.made[node] = planes
        return self.made[node]

    def penalty(self, node: Node) -> Penalty:
        """The objective and the restrictions of a neuron's operand, these by their multipliers, with what rounding may add."""
        (parent,), part, pull = node.parents, self.parts[node.index], self.multipliers[node]
        is_from_below = part.has_first & ((pull >= 0) | ~part.has_last)
        t = jnp.where(is_from_below, part.above_first, part.above_last)
        interval = self.intervals[parent]
        error = self.intervals.error(parent) + gamma(self.intervals.uses[parent] + 8, pull.dtype) * (
            reach_of(interval) + jnp.abs(t)
        )
        objective = self.objectives.get(node, jnp.zeros_like(pull))
        return Penalty(objective - pull, pull * t + (jnp.abs(objective) + jnp.abs(pull)) * lax.stop_gradient(error))
