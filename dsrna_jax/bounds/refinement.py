"""Bounds of intermediate values: intervals, which a method may narrow before each relaxed operation."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds import forward
from dsrna_jax.bounds.alpha_crown import optimised_lower_bound, slopes_by_node
from dsrna_jax.bounds.backward import Relaxed, lower_bound, sides_of
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.intervals import Intervals
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.interval import Interval, tightest
from dsrna_jax.bounds.relaxations.maximum import Largest
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import outward_sum
from dsrna_jax.bounds.zonotope import Zonotopes
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import is_known
from dsrna_jax.kernels.reductions import max_over

ROUNDED = 1e-4  # two evaluations of a value are taken to differ by less, as a share of its largest entry


def intermediate_bounds(graph: Graph, ball: Ball, boxes: Intervals, options: Options) -> Relaxed:
    """Intervals of all nodes by a method, with the planes that backward passes made on the way.

    Under l2 and l1 every method bounds the operands of the first relaxed operations backwards: these are affine in the input and
    have exact bounds.

    Args:
      boxes: intervals of all nodes by interval arithmetic.
      options: `given` holds sound bounds of intermediate values by their names; the method does not bound these again.
    Raises: InputError as `check_given`.
    """
    method, given, names = options.record, options.given or {}, intermediate_names(graph)
    slopes = slopes_by_node(graph, options.slopes) if isinstance(options.slopes, Mapping) else method.slopes
    check_given(names, given)
    if method.refined_by is None and not given and ball.norm == "linf":
        return Relaxed(boxes, slopes)
    zonotopes = Zonotopes(graph, ball, boxes) if method.refined_by == "zonotopes" else None
    planes: dict[Node, Planes] = {}
    users = forward.relaxed_inputs(graph)

    def refine(node: Node, intervals: Intervals, is_exact: bool):
        if names[node] in given:
            return _deviations(node, *given[names[node]])
        sides = []
        if zonotopes is not None:
            sides.append(zonotopes.sides(node, intervals))
        if method.refined_by == "backward" or (ball.norm != "linf" and not is_exact and is_affine(node)):
            relaxed = Relaxed(intervals, slopes, planes).prepared(graph, node)

            def bound(rows):
                if method.optimises:
                    return optimised_lower_bound(graph, ball, relaxed, node, rows, options.ascent)
                return lower_bound(graph, ball, relaxed, node, rows)

            undecided = _undecided(node, users[node], intervals)
            sides.append(sides_of(node, bound, chunk=options.chunk, graph=graph, wanted=undecided))
        return tightest(sides) if sides else None

    return Relaxed(forward.intervals(graph, ball, boxes.rounding, refine), slopes, planes)


def _deviations(node: Node, lower, upper):
    """Given bounds of a node as deviations from its value, which they then hold.

    Ends that turn out, as they are computed, to be no interval, or not to hold the value by more than rounding, say nothing.
    """
    below, above = outward_sum(lower, -node.value, -1), outward_sum(upper, -node.value, 1)
    spare = ROUNDED * max_over(jnp.abs(node.value))
    holds = (jnp.asarray(lower) <= upper) & (below <= spare) & (above >= -spare)
    return jnp.where(holds, jnp.minimum(below, 0), -jnp.inf), jnp.where(holds, jnp.maximum(above, 0), jnp.inf)


def check_given(names: dict[Node, str], given: Mapping) -> None:
    """Raises: InputError for unknown names, and sides that do not fit or, where they are known, cannot bound the value.

    These are ends in the wrong order, NaN, and ends that do not hold the value that f takes at x by more than rounding.
    """
    if not isinstance(given, Mapping) or not all(isinstance(sides, tuple | list) for sides in given.values()):
        raise InputError("given must map names to (lower, upper), as intermediate returns them")
    unknown = {str(name) for name in given} - set(names.values())
    if unknown:
        raise InputError(f"unknown intermediate values {', '.join(sorted(unknown))}: f has {', '.join(names.values())}")
    for node, name in names.items():
        if name not in given:
            continue
        shapes = [np.shape(side) for side in given[name]]
        if shapes != [node.value.shape] * 2:
            raise InputError(f"given {name} must be (lower, upper) of shape {node.value.shape}, got shapes {shapes}")
        if not is_known(*given[name]):
            continue
        lower, upper = map(np.asarray, given[name])
        if place := _first(~(lower <= upper)):
            raise InputError(f"given {name} has no interval at {place}: its ends are {lower[place]:g} and {upper[place]:g}")
        if not is_known(node.value):
            continue
        value = np.asarray(node.value)
        spare = ROUNDED * np.max(np.abs(value))
        if place := _first((value < lower - spare) | (value > upper + spare)):
            raise InputError(
                f"given {name} does not hold the value of f at x at {place}: "
                f"{value[place]:g} is not in {lower[place]:g} to {upper[place]:g}"
            )


def _first(mask) -> tuple[int, ...] | None:
    """The place of the first true entry."""
    return tuple(map(int, np.argwhere(mask)[0])) if mask.any() else None


def intermediate_names(graph: Graph) -> dict[Node, str]:
    """Names of the values that enter relaxed operations: that of the operation, and the parent's number if it has several."""
    return {start: _name(start, users[0]) for start, users in forward.relaxed_inputs(graph).items()}


def _name(start: Node, user: Node) -> str:
    place = [_source(parent) for parent in user.parents].index(start)
    if isinstance(user.operation, Largest):
        return user.name + ("", ".leads")[place]
    return user.name if len(user.parents) == 1 else f"{user.name}.{place}"


def _source(node: Node) -> Node:
    """The node whose entries this one moves."""
    moves = _moves(node)
    return moves[0].parents[0] if moves else node


def _moves(node: Node) -> list[Node]:
    """The nodes that move entries of one another, from that which moves those of the source on, up to this one."""
    moves = []
    while isinstance(node.operation, Linear) and node.operation.structural:
        moves.append(node)
        (node,) = node.parents
    return moves[::-1]


def _undecided(node: Node, users: list[Node], intervals: Intervals):
    """Mask of the entries for which tighter bounds of the node would improve the relaxation of a user; None for all."""
    parts = [_undecided_of(user, node, intervals) for user in users]
    known = [part for part in parts if part is not None]
    return sum(known) > 0 if len(known) == len(parts) else None


def _undecided_of(user: Node, node: Node, intervals: Intervals):
    """The mask of one user, whose operand holds the entries of the node as operations have moved them, or added constants."""
    operation = user.operation
    place = [_source(parent) for parent in user.parents].index(node)
    if not (isinstance(operation, Hinge) or (isinstance(operation, Largest) and place == 1)):
        return None
    moves = _moves(user.parents[place])
    interval = intervals[node]
    for move in moves:
        interval = Interval(*(move.operation.deviation(side) for side in interval))
    mask = operation.is_undecided(user, interval)
    for move in reversed(moves):
        (before,) = move.parents
        pull = move.operation.transposed or jax.linear_transpose(move.operation.deviation, before.value)
        (mask,) = pull(mask.astype(move.value.dtype))
    return mask != 0


def is_affine(node: Node) -> bool:
    """Whether no relaxed operation lies between the input and the node."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.operation is not None and not isinstance(current.operation, Linear):
            return False
        waiting.extend(current.parents)
    return True
