"""Linear bounds, propagated backwards (CROWN: Zhang et al. 2018, arXiv:1811.00866; CROWN-IBP: 2019, arXiv:1906.06316)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.options import Shares
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Penalty, Planes
from dsrna_jax.bounds.rounding import gamma, total
from dsrna_jax.bounds.rows import Rows, window_axes
from dsrna_jax.bounds.windows import Functional, Places

# Estimate of the number of arrays, of the size of a functional on the widest layer, that a backward pass holds at once.
ROW_BUFFERS = 3
PARTS = 8  # into which the entries of a node are cut at least, so that those that nothing asks for are left out


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """The relaxed nodes of a graph between given intervals. Planes are made when first asked for, and kept.

    slopes: as in `relaxations`; or the shares of nodes.
    is_signed: whether gaps may be negative, since intervals need not hold the trace point.
    """

    intervals: Intervals
    slopes: str | Mapping[Node, Shares] = "adaptive"
    made: dict[Node, Planes] = dataclasses.field(default_factory=dict)
    is_signed: bool = False

    def planes(self, node: Node) -> Planes:
        if node not in self.made:
            operation, of_parents = node.operation, [self.intervals[p] for p in node.parents]
            if not isinstance(self.slopes, str) and node in self.slopes:
                planes = operation.adjusted(self.known(node), self.slopes[node])
            else:
                slopes = self.slopes if isinstance(self.slopes, str) else "adaptive"
                planes = operation.planes(node, of_parents, slopes, self.intervals.enclosure(node))
            self.made[node] = self.intervals.widened(node, planes)
        return self.made[node]

    def known(self, node: Node) -> Any:
        """The arrays that planes of an adjustable node depend on beside its shares."""
        return node.operation.adjustable(node, [self.intervals[parent] for parent in node.parents])[0]

    def planes_on(self, functional: Functional) -> Planes:
        """The planes of a functional's node where its rows lie, with the axis of rows (or 1) in front of the batch axis."""
        node, read = functional.node, functional.read_planes
        planes = self.planes(node)

        def of_parents(coefficients):
            axes = (parent.value.ndim - node.value.ndim for parent in node.parents)
            return tuple(None if c is None else read(c, ahead) for c, ahead in zip(coefficients, axes, strict=True))

        penalty = None if planes.penalty is None else Penalty(*map(read, planes.penalty))
        lower = of_parents(planes.lower)
        upper = lower if planes.upper is planes.lower else of_parents(planes.upper)
        return Planes(lower, upper, read(planes.lower_gap), read(planes.upper_gap), penalty)

    def prepared(self, graph: Graph, target: Node) -> "Relaxed":
        """Itself, with all planes and errors that bounds of `target` need, so that loops over rows do not compute them again."""
        self.intervals.error(target)
        for node in graph.nodes:
            if node.index <= target.index and node.operation is not None and not isinstance(node.operation, Linear):
                self.planes(node)
        return self


def lower_bound(
    graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, functional: jax.Array | Functional, *, stop: bool = False
) -> jax.Array:
    """Lower bounds of <functional, deviation of target> over the ball: [row, batch]; arguments as in `linear_lower_bound`."""
    functional = functional if isinstance(functional, Functional) else dense(target, functional)
    parts, losses = functionals_of_inputs(graph, relaxed, target, functional, stop=stop)
    if any(part is not None for part in parts):
        losses.append(-_least(ball, graph, functional, parts))
    allowance = gamma(len(losses) + 4, functional.rows.dtype)
    bound = -functools.reduce(jnp.add, losses)
    size = functools.reduce(jnp.add, map(jnp.abs, losses)) if relaxed.is_signed else -bound
    return jnp.broadcast_to(bound - allowance * size, (bound.shape[0], target.value.shape[target.batch_axis]))


def linear_lower_bound(graph: Graph, relaxed: Relaxed, target: Node, functional, *, stop: bool = False):
    """A linear function of the input's deviation d that lies below <functional, deviation of target>.

    Args:
      functional: [row, *target shape], or a `Functional` on windows.
      stop: end at the first relaxed nodes on the way, with their intervals, rather than go on to the input by their planes.
    Returns: (coefficients, losses): the function is <coefficients, d> - sum(losses). The coefficients are [row, batch, ...] for
      each input, or None if the target does not depend on any; the losses are [row, batch], each at least 0
      unless gaps are signed.
    """
    start = functional if isinstance(functional, Functional) else dense(target, functional)
    parts, losses = functionals_of_inputs(graph, relaxed, target, start, stop=stop)
    return None if all(part is None for part in parts) else _arrays(graph, start, parts), losses


def functionals_of_inputs(graph: Graph, relaxed: Relaxed, target: Node, start: Functional, *, stop: bool = False):
    """`linear_lower_bound` with a functional on any windows, whose coefficients are functionals too; None for 0.

    Functionals have their axis of rows right in front of the batch axis on the way, so that most operations can merge the two.
    """
    pending, results = {target: start}, {}
    errors = relaxed.intervals.error
    losses: list[Any] = [by_example(jnp.abs(start.rows) * start.read(errors(target)), target)]  # all at least 0

    def arrive(part):
        pending[part.node] = pending[part.node] + part if part.node in pending else part

    for node in reversed(graph.nodes[: graph.nodes.index(target) + 1]):
        for whole, rows in results.pop(node, {}).items():
            arrive(dataclasses.replace(start, node=node, rows=_joined(node, whole, rows), frame=(None,) * node.value.ndim))
        if node not in pending or node.operation is None:
            continue
        functional = pending.pop(node).settled()
        # Planes of an operation on values of several types, such as a choice between them, have the widest one.
        functional = dataclasses.replace(functional, rows=functional.rows.astype(node.value.dtype))
        if isinstance(node.operation, Linear):
            if functional.is_dense and functional.is_of_each and node.operation.one_of is not None:
                place, whole = node.operation.one_of
                results.setdefault(node.parents[0], {}).setdefault(whole, {})[place] = node, functional.rows
                continue
            passed = _transposed(functional)
        elif stop:
            lower, upper = relaxed.intervals[node]
            below, above = functional.read(jnp.minimum(lower, 0)), functional.read(jnp.maximum(upper, 0))
            rows = functional.rows
            losses.append(by_example(jnp.where(rows >= 0, rows * -below, -rows * above), node))
            continue
        else:
            planes = relaxed.planes_on(functional)
            passed, gaps = _pulled(functional, planes)
            if planes.penalty is not None:
                below, loss = planes.penalty
                passed[0], gaps = dataclasses.replace(passed[0], rows=passed[0].rows + below), gaps + loss
            losses.append(signed_by_example(gaps, node) if relaxed.is_signed else by_example(gaps, node))
        for part in passed:
            if part is not None:
                arrive(part)
    at_input = [pending[leaf].settled() if leaf in pending else None for leaf in graph.inputs]
    for leaf, part in zip(graph.inputs, at_input, strict=True):
        if part is not None:
            losses.append(total(jnp.abs(part.rows) * part.read(errors(leaf)), 2))
    return at_input, losses


def _least(ball: Ball, graph: Graph, start: Functional, functionals) -> jax.Array:
    """Lower bounds of functionals of the inputs over a ball: [row, batch]."""
    if len(functionals) > 1 or functionals[0].is_dense:
        return ball.dot_lower(_arrays(graph, start, functionals))
    (part,) = functionals
    part = part if ball.norm == "linf" else part.clean().for_each_example()
    by_block = part.rows.reshape(part.blocks, -1, *part.rows.shape[1:])

    def least(rows, at):
        boxes = [Interval(*(part.slice(side, at) for side in box)) for box in ball.boxes]
        return dataclasses.replace(ball, boxes=tuple(boxes)).dot_lower([rows])

    return jax.vmap(least)(by_block, part.places.at).reshape(-1, len(ball.radius))


def _arrays(graph: Graph, start: Functional, functionals) -> list[jax.Array]:
    """Functionals of the inputs as arrays [row, batch, ...]."""
    rows = start.rows.shape[start.node.batch_axis]
    return [
        jnp.zeros((rows, *leaf.value.shape), leaf.value.dtype) if part is None else part.array
        for leaf, part in zip(graph.inputs, functionals, strict=True)
    ]


def _transposed(functional: Functional) -> list[Functional]:
    """The functionals on the parents of an affine node: on windows if the operation can, and otherwise dense."""
    node = functional.node
    windowed = node.operation.windowed
    if windowed is not None and not (functional.is_dense and functional.is_of_each):
        functional = functional.whole(windowed.whole(functional.frame))
        if not windowed.is_local:
            functional = functional.clean()
        parts = zip(node.parents, windowed.pull(functional), windowed.reach(functional.frame), strict=True)
        is_clean = functional.is_clean and windowed.is_local
        return [Functional(parent, rows, frame, functional.places, is_clean or not any(frame)) for parent, rows, frame in parts]
    functional = functional.whole(range(node.value.ndim)).for_each_example()
    shapes = [jax.ShapeDtypeStruct(p.value.shape, p.value.dtype) for p in node.parents]
    pull = node.operation.transposed or jax.linear_transpose(node.operation.deviation, *shapes)
    passed = jax.vmap(pull, node.batch_axis, tuple(p.batch_axis for p in node.parents))(functional.rows)
    return [
        Functional(parent, rows, (None,) * parent.value.ndim, functional.places)
        for parent, rows in zip(node.parents, passed, strict=True)
    ]


def _joined(parent: Node, whole: Linear, results: dict):
    """The functional on the parent of an operation with several results, from those on them, {place: (node, rows)}."""
    shapes = jax.eval_shape(whole.deviation, parent.value)

    def pull(rows):
        cotangents = [rows.get(i, jnp.zeros(s.shape, s.dtype)) for i, s in enumerate(shapes)]
        return jax.linear_transpose(whole.deviation, jax.ShapeDtypeStruct(parent.value.shape, parent.value.dtype))(cotangents)[0]

    axes = {place: node.batch_axis for place, (node, _) in results.items()}
    return jax.vmap(pull, (axes,), parent.batch_axis)({place: rows for place, (_, rows) in results.items()})


def _pulled(functional: Functional, planes: Planes):
    """The functionals on the parents of a relaxed node that lie below the given ones, and the gap [..., row, batch, ...]."""
    node, rows = functional.node, functional.rows
    from_below, passed = rows >= 0, []
    for lower, upper, parent in zip(planes.lower, planes.upper, node.parents, strict=True):
        if lower is None or upper is None:
            passed.append(None)
            continue
        leading = (None,) * (parent.value.ndim - node.value.ndim)
        pulled = rows[leading] * (lower if upper is lower else jnp.where(from_below[leading], lower, upper))
        passed.append(Functional(parent, pulled, leading + functional.frame, functional.places))
    # XLA sums this in one pass, and a product in two.
    return passed, jnp.where(from_below, rows * planes.lower_gap, -rows * planes.upper_gap)


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
    one_hot = jax.nn.one_hot(places, node.size, dtype=node.value.dtype).reshape(-1, *shape)
    return jnp.broadcast_to(one_hot, (len(places), *node.value.shape))


def dense(target: Node, functional) -> Functional:
    """Functionals [row, *target shape] that hold all entries."""
    rows = jnp.moveaxis(functional, 0, target.batch_axis)
    return Functional(target, rows, (None,) * target.value.ndim, Places(1, (), ()))


def sides_of(
    node: Node,
    lower_bound: Callable,
    *,
    chunk: int,
    graph: Graph | None = None,
    axes: tuple[int, ...] | None = None,
    wanted=None,
) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bounds of every entry of a node.

    Args:
      lower_bound: maps a `Functional` of the node to lower bounds [row, batch].
      chunk: entries bounded at a time, if their functionals hold all entries of the widest layer; more if these hold less.
      graph: of the node, to hold functionals on windows; None to hold all entries.
      axes: along which functionals have windows; by default those that save much.
      wanted: mask of the node's shape, for all entries by default. Entries that no example wants may keep infinite bounds;
        the wanted ones are sorted to the front, and chunks without any are skipped.
    """
    if axes is None:
        axes = () if graph is None else window_axes(graph, node)
    rows = Rows(node, axes)
    size, batch = node.size, node.value.shape[node.batch_axis]
    most = chunk if graph is None else rows.at_once(graph, chunk, batch)
    idle = jnp.zeros(size, bool)
    if wanted is not None:
        idle = ~rows.numbered(wanted).any(1)
        most = min(most, max(chunk, -(-size // PARTS)))
    blocks = rows.blocks(idle, most)

    def bounds(entries):
        return lower_bound(rows.functional(entries))

    def unknown(entries):
        return jnp.full((2 * entries.size, batch), -jnp.inf, node.value.dtype)

    if len(blocks) == 1:
        lower = bounds(blocks[0])[None]
    else:
        skipped = jnp.concatenate([idle, jnp.ones(1, bool)])[jnp.minimum(blocks, size)].all((1, 2))
        lower = lax.map(lambda job: lax.cond(job[0], unknown, bounds, job[1]), (skipped, blocks))
    below, above = rows.sides(blocks, lower)
    return below, -above
