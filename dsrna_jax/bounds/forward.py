"""Interval bounds, forwards through a graph (IBP: Gowal et al. 2018, arXiv:1810.12715)."""

import jax.numpy as jnp

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.relaxations.interval import Interval, between, intersection
from dsrna_jax.bounds.relaxations.maximum import Largest

Intervals = dict[Node, Interval]


def passed(operation: Linear, parents: list[Interval]) -> Interval:
    """The interval of an operation's result from those of its parents; of several results, mid and radius are lists."""
    radii = [p.radius for p in parents]
    if all(p.mid is None for p in parents):
        return Interval(None, operation.magnitude(*radii))
    mids = [jnp.zeros_like(p.radius) if p.mid is None else p.mid for p in parents]
    if operation.both is not None:
        return Interval(*operation.both(*mids, *radii))
    return Interval(operation.deviation(*mids), operation.magnitude(*radii))


def intervals(graph: Graph, ball: Ball, refine=None) -> Intervals:
    """Interval of every node. `refine(node, intervals, is_exact)` gives more (lower, upper), or None, of those nodes that
    relaxations start from; `is_exact` where a row norm was at hand.

    Under l2 and l1, where a box around the ball would be loose, the values that are one affine layer away from the
    input have the exact radius, ball radius * ||row||_q.
    """
    found: Intervals = dict(zip(graph.inputs, ball.boxes, strict=True))
    wholes: dict[Linear, Interval] = {}
    narrowed: set[Node] = set()
    starts, rows = relaxed_inputs(graph), _Rows(graph, ball)

    def step(node):
        operation, known = node.operation, [found[p] for p in node.parents]
        if isinstance(operation, Largest):
            return operation.enclosure(node, known, leads_are_narrowed=node.parents[1] in narrowed)
        if not isinstance(operation, Linear):
            return operation.enclosure(node, known)
        if operation.one_of is None:
            return passed(operation, known)
        place, whole = operation.one_of
        if whole not in wholes:
            wholes[whole] = passed(whole, known)
        mids, radii = wholes[whole]
        return Interval(None if mids is None else mids[place], radii[place])

    for node in graph.nodes:
        if node in found:
            continue
        found[node] = step(node)
        exact = rows.radius(node)
        if exact is not None:
            found[node] = intersection(found[node], Interval(None, exact))
        if refine is not None and node in starts:
            sides = refine(node, found, exact is not None)
            if sides is not None:  # what is not known, NaN, gives way
                found[node] = between(jnp.fmax(found[node].lower, sides[0]), jnp.fmin(found[node].upper, sides[1]))
                narrowed.add(node)
    return found


def relaxed_inputs(graph: Graph) -> dict[Node, list[Node]]:
    """The nodes whose bounds relaxations are made of, and those relaxed nodes; what only moves entries is passed over."""
    starts: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node.operation, Linear):
            for parent in node.parents[: getattr(node.operation, "used_intervals", None)]:
                while isinstance(parent.operation, Linear) and parent.operation.structural:
                    (parent,) = parent.parents
                if parent.operation is not None:
                    starts.setdefault(parent, []).append(node)
    return starts


class _Rows:
    """Sizes of the rows of the affine maps from the input, where they can be had by pushing ones through one layer."""

    def __init__(self, graph: Graph, ball: Ball):
        self.ball = ball
        self.powers: dict[Node, tuple] = {}
        if ball.norm == "l2" and len(graph.inputs) == 1:
            self.powers[graph.inputs[0]] = (jnp.ones_like(graph.inputs[0].value), True)

    def radius(self, node: Node):
        """radius * ||row||_2 of each entry, or None."""
        if not isinstance(node.operation, Linear) or node.operation.power is None or len(node.parents) != 1:
            return None
        rows, alone = self.powers.get(node.parents[0], (None, False))
        single = node.operation.singleton
        if rows is None or not (alone or single):
            return None
        rows = node.operation.power(2)(rows)
        self.powers[node] = (rows, alone and single)
        shape = [1] * rows.ndim
        shape[node.batch_axis] = -1
        return self.ball.radius.reshape(shape) * jnp.sqrt(rows)
