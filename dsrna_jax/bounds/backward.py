"""Linear bounds, propagated backwards (CROWN: Zhang et al. 2018, arXiv:1811.00866; CROWN-IBP: 2019, arXiv:1906.06316)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import gamma, total

# Estimate of the number of arrays, of the size of a functional on the widest layer, that a backward pass holds at once.
ROW_BUFFERS = 3


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """The relaxed nodes of a graph between given intervals. Planes are made when first asked for, and kept.

    slopes: of hinges, as in `relaxations`; for all of them, or a dict by node.
    is_signed: whether gaps may be negative, since intervals need not hold the trace point.
    """

    intervals: Intervals
    slopes: str | Mapping[Node, jax.Array] = "adaptive"
    made: dict[Node, Planes] = dataclasses.field(default_factory=dict)
    is_signed: bool = False

    def planes(self, node: Node) -> Planes:
        if node not in self.made:
            slopes = self.slopes if isinstance(self.slopes, str) else self.slopes.get(node, "adaptive")
            planes = node.operation.planes(node, [self.intervals[p] for p in node.parents], slopes)
            self.made[node] = self.intervals.widened(node, planes)
        return self.made[node]

    def prepared(self, graph: Graph, target: Node) -> "Relaxed":
        """Itself, with all planes and errors that bounds of `target` need, so that loops over rows do not compute them again."""
        self.intervals.error(target)
        for node in graph.nodes:
            if node.index <= target.index and node.operation is not None and not isinstance(node.operation, Linear):
                self.planes(node)
        return self


def lower_bound(graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional, *, stop: bool = False) -> jax.Array:
    """Lower bounds of <functional, deviation of target> over the ball: [row, batch]; arguments as in `linear_lower_bound`."""
    coefficients, losses = linear_lower_bound(graph, relaxed, target, functional, stop=stop)
    if coefficients is not None:
        losses.append(-ball.dot_lower(coefficients))
    allowance = gamma(len(losses) + 4, functional.dtype)
    if relaxed.is_signed:
        return -functools.reduce(jnp.add, losses) - allowance * functools.reduce(jnp.add, map(jnp.abs, losses))
    return -functools.reduce(jnp.add, losses) * (1 + allowance)


def linear_lower_bound(graph: Graph, relaxed: Relaxed, target: Node, functional, *, stop: bool = False):
    """A linear function of the input's deviation d that lies below <functional, deviation of target>.

    Functionals have their axis of rows right in front of the batch axis on the way, so that most operations can merge the two.

    Args:
      functional: [row, *target shape].
      stop: end at the first relaxed nodes on the way, with their intervals, rather than go on to the input by their planes.
    Returns: (coefficients, losses): the function is <coefficients, d> - sum(losses). The coefficients are [row, batch, ...] for
      each input, or None if the target does not depend on any; the losses are [row, batch], each at least 0
      unless gaps are signed.
    """
    pending, results = {target: jnp.moveaxis(functional, 0, target.batch_axis)}, {}
    errors = relaxed.intervals.error
    losses: list[Any] = [by_example(jnp.abs(pending[target]) * _beside(errors(target), target), target)]  # all at least 0

    def arrive(node, rows):
        pending[node] = pending[node] + rows if node in pending else rows

    for node in reversed(graph.nodes[: graph.nodes.index(target) + 1]):
        for whole, rows in results.pop(node, {}).items():
            arrive(node, _joined(node, whole, rows))
        if node not in pending or node.operation is None:
            continue
        rows = pending.pop(node)
        if isinstance(node.operation, Linear):
            if node.operation.one_of is not None:
                place, whole = node.operation.one_of
                results.setdefault(node.parents[0], {}).setdefault(whole, {})[place] = node, rows
                continue
            passed = _transposed(node, rows)
        elif stop:
            lower, upper = relaxed.intervals[node]
            below, above = _beside(jnp.minimum(lower, 0), node), _beside(jnp.maximum(upper, 0), node)
            losses.append(by_example(jnp.where(rows >= 0, rows * -below, -rows * above), node))
            continue
        else:
            planes = relaxed.planes(node)
            passed, gaps = _pulled(node, planes, rows)
            if planes.penalty is not None:
                passed[0], gaps = (
                    passed[0] + _beside(planes.penalty.coefficients, node),
                    gaps + _beside(planes.penalty.loss, node),
                )
            losses.append(signed_by_example(gaps, node) if relaxed.is_signed else by_example(gaps, node))
        for parent, part in zip(node.parents, passed, strict=True):
            if part is not None:
                arrive(parent, part)
    at_input = [pending.get(leaf) for leaf in graph.inputs]
    if all(part is None for part in at_input):
        return None, losses
    rows = functional.shape[0]
    coefficients = [
        jnp.zeros((rows, *leaf.value.shape), leaf.value.dtype) if part is None else part
        for leaf, part in zip(graph.inputs, at_input, strict=True)
    ]
    losses += [total(jnp.abs(part) * errors(leaf)[None], 2) for leaf, part in zip(graph.inputs, coefficients, strict=True)]
    return coefficients, losses


def _transposed(node: Node, rows):
    shapes = [jax.ShapeDtypeStruct(p.value.shape, p.value.dtype) for p in node.parents]
    pull = node.operation.transposed or jax.linear_transpose(node.operation.deviation, *shapes)
    return jax.vmap(pull, node.batch_axis, tuple(p.batch_axis for p in node.parents))(rows)


def _joined(parent: Node, whole: Linear, results: dict):
    """The functional on the parent of an operation with several results, from those on them, {place: (node, rows)}."""
    shapes = jax.eval_shape(whole.deviation, parent.value)

    def pull(rows):
        cotangents = [rows.get(i, jnp.zeros(s.shape, s.dtype)) for i, s in enumerate(shapes)]
        return jax.linear_transpose(whole.deviation, jax.ShapeDtypeStruct(parent.value.shape, parent.value.dtype))(cotangents)[0]

    axes = {place: node.batch_axis for place, (node, _) in results.items()}
    return jax.vmap(pull, (axes,), parent.batch_axis)({place: rows for place, (_, rows) in results.items()})


def _pulled(node: Node, planes: Planes, rows):
    """The functionals on the parents of a relaxed node that lie below the given ones, and the gap [..., row, batch, ...]."""
    from_below, passed = rows >= 0, []
    for lower, upper, parent in zip(planes.lower, planes.upper, node.parents, strict=True):
        if lower is None:
            passed.append(None)
            continue
        leading = (None,) * (parent.value.ndim - node.value.ndim)
        passed.append(rows[leading] * jnp.where(from_below[leading], _beside(lower, parent), _beside(upper, parent)))
    lower_gap, upper_gap = (_beside(gap, node) for gap in (planes.lower_gap, planes.upper_gap))
    return passed, jnp.where(from_below, rows * lower_gap, -rows * upper_gap)  # XLA sums this in one pass, and a product in two


def _beside(x, node: Node):
    """x, of the node's shape or with an axis of rows in front, with the axis of rows (or 1) right in front of the batch axis."""
    if x.ndim > node.value.ndim:
        return jnp.moveaxis(x, 0, node.batch_axis)
    return jnp.expand_dims(x, node.batch_axis)


def by_example(x, node: Node) -> jax.Array:
    """Upper bound of the sum of numbers >= 0 over the entries of each example: [..., row, batch, ...] -> [row, batch]."""
    inner = total(x, node.batch_axis + 2)
    return total(jnp.moveaxis(inner, (-2, -1), (0, 1)), 2) if node.batch_axis else inner


def signed_by_example(x, node: Node) -> jax.Array:
    """Upper bound of the sum of numbers of any sign over the entries of each example, shapes as in `by_example`."""
    value = x.sum(tuple(axis for axis in range(x.ndim) if axis not in (node.batch_axis, node.batch_axis + 1)))
    return value + gamma(x.size // value.size + 4, x.dtype) * by_example(jnp.abs(x), node)


def rows_of(node: Node, places) -> jax.Array:
    """One-hot functionals that pick entry places[row] of every example: [row, *node shape]."""
    shape = list(node.value.shape)
    shape[node.batch_axis] = 1
    one_hot = jax.nn.one_hot(places, int(np.prod(shape)), dtype=node.value.dtype).reshape(-1, *shape)
    return jnp.broadcast_to(one_hot, (len(places), *node.value.shape))


def sides_of(node: Node, lower_bound: Callable, *, chunk: int, wanted=None) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bounds of every entry of a node.

    Args:
      lower_bound: maps functionals [row, *node shape] to lower bounds [row, batch].
      chunk: entries bounded at a time; memory grows as chunk * batch * widest layer.
      wanted: mask of the node's shape, for all entries by default. Entries that no example wants may keep infinite bounds;
        the wanted ones are sorted to the front, and chunks without any are skipped.
    """
    size, batch = node.size, node.value.shape[node.batch_axis]
    chunk = min(chunk, size)

    def bounds(places):
        rows = rows_of(node, places)
        both = lower_bound(jnp.concatenate([rows, -rows]))
        return both[: len(places)], -both[len(places) :]

    def unknown(places):
        infinite = jnp.full((len(places), batch), jnp.inf, node.value.dtype)
        return -infinite, infinite

    if chunk == size:
        sides = bounds(jnp.arange(size))
    else:
        idle = jnp.zeros(size, bool)
        if wanted is not None:
            idle = ~jnp.moveaxis(wanted, node.batch_axis, 0).reshape(batch, size).any(0)
        order = jnp.argsort(idle, stable=True)
        chunks = jnp.resize(order, (-(-size // chunk), chunk))
        computed = lax.map(lambda places: lax.cond(idle[places].all(), unknown, bounds, places), chunks)
        place = jnp.argsort(order)
        sides = (side.reshape(-1, batch)[place] for side in computed)
    shape = list(node.value.shape)
    del shape[node.batch_axis]
    lower, upper = (jnp.moveaxis(side.T.reshape(batch, *shape), 0, node.batch_axis) for side in sides)
    return lower, upper
