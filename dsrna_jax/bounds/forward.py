"""Interval bounds, propagated forwards (IBP: Gowal et al. 2018, arXiv:1810.12715)."""

import collections

import jax.numpy as jnp

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.relaxations.interval import Interval, intersection
from dsrna_jax.bounds.relaxations.maximum import Largest
from dsrna_jax.bounds.rounding import Magnitudes, Rounding, gamma, smallest_normal
from dsrna_jax.kernels.reductions import larger, max_over, smaller


def passed(node: Node, known: Intervals) -> Interval:
    """The interval of an affine operation's result from those of its parents."""
    operation, parents, rounding = node.operation, [known[p] for p in node.parents], known.rounding
    if operation.terms is None:
        return _ends(operation, parents)
    if operation.structural or operation.increasing or operation.singleton:
        if operation.terms == 0:
            return rounding.outwards(Magnitudes(node, _ends(operation, parents)), 1)
        lower, upper = _ends(operation, [rounding.outwards(known.magnitudes(p), operation.terms) for p in node.parents])
        flushed = rounding.of_flushed(node)
        return Interval(lower - flushed, upper + flushed)
    errors = [rounding.of_interval(known.magnitudes(p), operation.terms + 1) for p in node.parents]
    mids, radii = [i.mid for i in parents], [i.radius + e for i, e in zip(parents, errors, strict=True)]
    both = operation.both or (lambda *a: (operation.deviation(*a[: len(mids)]), operation.magnitude(*a[len(mids) :])))
    middle, half = both(*mids, *radii)
    if operation.terms == 0:
        return rounding.outwards(Magnitudes(node, Interval(middle - half, middle + half)), 1)
    half = half + rounding.of_flushed(node)
    half = half if operation.errors is None else half + operation.errors(*errors)
    return Interval(middle - half, middle + half)


def _ends(operation: Linear, parents: list[Interval]) -> Interval:
    """Ends mapped to ends: exact if all coefficients are at least 0, or each entry depends on one entry."""
    lower, upper = (operation.deviation(*(interval[side] for interval in parents)) for side in (0, 1))
    if operation.structural or operation.increasing:
        return Interval(lower, upper)
    return Interval(smaller(lower, upper), larger(lower, upper))


def intervals(graph: Graph, ball: Ball, rounding: Rounding, refine=None) -> Intervals:
    """The interval of every node.

    Under l2, where the box around the ball is loose, values one affine layer away from the input get their exact radius, that of
    the ball times the norm of their row.

    Args:
      refine: (node, intervals of it and of the nodes before, is_exact) -> (lower, upper) or None, to narrow the intervals of the
        nodes that relaxations start from. is_exact: whether its interval is that of a row norm. NaN is an unknown bound.
    """
    known = Intervals(graph, rounding)
    for leaf, box in zip(graph.inputs, ball.boxes, strict=True):
        known[leaf] = ball.clipped(leaf.value, rounding.outwards(Magnitudes(leaf, box), 1)) if rounding.counts_f else box
        known.error(leaf)
    narrowed: set[Node] = set()
    starts, rows = relaxed_inputs(graph), _Rows(graph, ball)

    def step(node):
        if isinstance(node.operation, Linear):
            return passed(node, known)
        options = {"leads_are_narrowed": node.parents[1] in narrowed} if isinstance(node.operation, Largest) else {}
        return known.evaluated(node, known.enclosure(node, **options))

    for node in graph.nodes:
        if node in known:
            continue
        known[node] = step(node)
        exact = rows.radius(node)
        if exact is not None:
            exact = exact + known.error(node)
            known[node] = intersection(known[node], Interval(-exact, exact))
        if refine is not None and node in starts:
            sides = refine(node, known, exact is not None)
            if sides is not None:
                known[node] = Interval(jnp.fmax(known[node].lower, sides[0]), jnp.fmin(known[node].upper, sides[1]))
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
    """Row norms of the affine maps from the input, up to the first layer that sums: ones pushed through |A|^2 give them."""

    def __init__(self, graph: Graph, ball: Ball):
        self.ball = ball
        self.powers: dict[Node, tuple] = {}
        self.terms: dict[Node, int] = collections.Counter()
        if ball.norm == "l2" and len(graph.inputs) == 1:
            self.powers[graph.inputs[0]] = (jnp.ones_like(graph.inputs[0].value), True)

    def radius(self, node: Node):
        """radius * ||row||_2 of each entry; None where the node is no such layer."""
        if not isinstance(node.operation, Linear) or node.operation.power is None or len(node.parents) != 1:
            return None
        (parent,), single = node.parents, node.operation.singleton
        rows, alone = self.powers.get(parent, (None, False))
        if rows is None or not (alone or single):
            return None
        shape = [1] * node.value.ndim
        shape[node.batch_axis] = -1
        # Products may be flushed to 0, and so may the squares of coefficients.
        largest = max_over(rows, [i for i in range(rows.ndim) if i != parent.batch_axis]).reshape(shape)
        terms = (node.operation.terms or 0) + 2
        rows = node.operation.power(2)(rows) + terms * smallest_normal(rows.dtype) * (1 + largest)
        self.powers[node] = (rows, alone and single)
        self.terms[node] = self.terms[parent] + terms
        return self.ball.radius.reshape(shape) * jnp.sqrt(rows) * (1 + gamma(self.terms[node] + 4, rows.dtype))
