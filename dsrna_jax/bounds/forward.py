"""Interval bounds, propagated forwards (IBP: Gowal et al. 2018, arXiv:1810.12715)."""

import jax.numpy as jnp

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.relaxations.interval import Interval, between, intersection
from dsrna_jax.bounds.relaxations.maximum import Largest

Intervals = dict[Node, Interval]


def passed(operation: Linear, parents: list[Interval]) -> Interval:
    """The interval of an affine operation's result from those of its parents; mid and radius are lists for several results."""
    radii = [p.radius for p in parents]
    if all(p.mid is None for p in parents):
        return Interval(None, operation.magnitude(*radii))
    mids = [jnp.zeros_like(p.radius) if p.mid is None else p.mid for p in parents]
    if operation.both is not None:
        return Interval(*operation.both(*mids, *radii))
    return Interval(operation.deviation(*mids), operation.magnitude(*radii))


def intervals(graph: Graph, ball: Ball, refine=None) -> Intervals:
    """The interval of every node.

    Under l2, where the box around the ball is loose, values one affine layer away from the input get their exact radius, that of
    the ball times the norm of their row.

    Args:
      refine: (node, intervals of it and of the nodes before, is_exact) -> (lower, upper) or None, to narrow the intervals of the
        nodes that relaxations start from. is_exact: whether the radius is that of a row norm. NaN is an unknown bound.
    """
    known: Intervals = dict(zip(graph.inputs, ball.boxes, strict=True))
    wholes: dict[Linear, Interval] = {}
    narrowed: set[Node] = set()
    starts, rows = relaxed_inputs(graph), _Rows(graph, ball)

    def step(node):
        operation, parents = node.operation, [known[p] for p in node.parents]
        if isinstance(operation, Largest):
            return operation.enclosure(node, parents, leads_are_narrowed=node.parents[1] in narrowed)
        if not isinstance(operation, Linear):
            return operation.enclosure(node, parents)
        if operation.one_of is None:
            return passed(operation, parents)
        place, whole = operation.one_of
        if whole not in wholes:
            wholes[whole] = passed(whole, parents)
        mids, radii = wholes[whole]
        return Interval(None if mids is None else mids[place], radii[place])

    for node in graph.nodes:
        if node in known:
            continue
        known[node] = step(node)
        exact = rows.radius(node)
        if exact is not None:
            known[node] = intersection(known[node], Interval(None, exact))
        if refine is not None and node in starts:
            sides = refine(node, known, exact is not None)
            if sides is not None:
                known[node] = between(jnp.fmax(known[node].lower, sides[0]), jnp.fmin(known[node].upper, sides[1]))
                narrowed.add(node)
    return known


def relaxed_inputs(graph: Graph) -> dict[Node, list[Node]]:
    """The nodes whose intervals relaxations need, each with the relaxed nodes that need them.

    Operations that only move entries are skipped: the node before them is listed.
    """
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
    """Row norms of the affine maps from the input, where pushing ones through a layer gives them: up to the first full layer."""

    def __init__(self, graph: Graph, ball: Ball):
        self.ball = ball
        self.powers: dict[Node, tuple] = {}
        if ball.norm == "l2" and len(graph.inputs) == 1:
            self.powers[graph.inputs[0]] = (jnp.ones_like(graph.inputs[0].value), True)

    def radius(self, node: Node):
        """radius * ||row||_2 of each entry; None where the node is no such layer."""
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
