"""Piecewise linear functions: hinges, and maxima and minima of many."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Linear, Node
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.maximum import Larger, Largest, leader_of
from dsrna_jax.bounds.rules.building import broadcast_nodes, nodes_of, rewritten, values, with_axes_in_front
from dsrna_jax.bounds.rules.windowed.form import Step, stepped
from dsrna_jax.bounds.rules.windowed.pools import entries_of_windows
from dsrna_jax.bounds.univariate import crossing, difference
from dsrna_jax.kernels import reductions
from dsrna_jax.kernels.equations import evaluated
from dsrna_jax.kernels.windows import windows


def hinge(left, right):
    """The rule of max (left 0, right 1) and min (1, 0): a hinge if one operand is constant, else by relu(a - b)."""

    def rule(tracer, primitive, operands, params, axes):
        nodes = nodes_of(operands)
        if len(nodes) == 2:
            crossed = _crossed(tracer, primitive, nodes, axes, is_max=right > left)
            if crossed is not None:
                return crossed
            a, b = broadcast_nodes(tracer, operands, axes)
            if right < left:
                (negative,) = tracer.inline(lambda a, b: jnp.maximum(-a, -b), a, b)
                return tracer.inline(jnp.negative, negative)
            (above,) = tracer.inline(lambda a, b: jax.nn.relu(a - b), a, b)
            return [tracer.node(Larger(), (a, b, above), jnp.maximum(a.value, b.value), axes[0], "max")]
        (constant,) = (o if number(o) is None else number(o) for o in operands if not isinstance(o, Node))
        if number(constant) is not None and constant == (-np.inf if right > left else np.inf):
            return nodes
        value = evaluated(primitive, values(operands), params)[0]
        name = {"max": "relu"}.get(primitive.name, primitive.name)
        return [tracer.node(Hinge(left, right, constant), broadcast_nodes(tracer, operands, axes), value, axes[0], name)]

    return rule


def _crossed(tracer, primitive, nodes, axes, is_max):
    """[node] of the maximum or minimum of two affine functions of one node, such as max(x, 0.1 x); None for other operands."""
    for root in tracer.origins.roots_of(nodes):
        parts = tracer.origins.as_functions_of(root, nodes)
        if parts is None or any(node.value.shape != root.value.shape for node in nodes):
            continue
        first, second = (part.affine for part in parts)
        gap = difference(first, second)
        if gap is None or number(gap[0]) is None or gap[0] == 0 or max(part.roundings for part in parts) > 1:
            continue
        at = crossing(gap)
        if at is None:
            continue
        left, right = (slope for slope, _ in ((second, first) if (gap[0] > 0) == is_max else (first, second)))
        value = tracer.value(primitive, nodes, {})
        return [tracer.node(Hinge(left, right, at), (root,), value, axes[0], "relu")]
    return None


def absolute(tracer, primitive, operands, params, axes):
    """The rule of abs."""
    (x,) = operands
    return [tracer.node(Hinge(-1.0, 1.0), (x,), jnp.abs(x.value), axes[0], "abs")]


def largest(sign):
    """The rule of reduce_max (sign 1) and reduce_min (sign -1)."""

    def rule(tracer, primitive, operands, params, axes):
        (stacked,) = tracer.inline(lambda x: with_axes_in_front(x if sign > 0 else -x, axes=params["axes"]), *operands)
        top = _top(tracer, stacked, axes[0], "max")
        return [top] if sign > 0 else tracer.inline(jnp.negative, top)

    return rule


def window_largest(tracer, primitive, operands, params, axes):
    """The rule of reduce_window_max: the maximum over a new first axis that holds the entries of each window."""
    (x,) = operands
    return [_top(tracer, entries_of_pool(tracer, x, -np.inf, params, axes[0]), axes[0], "max_pool")]


def entries_of_pool(tracer, x, fill, params, batch_axis):
    """The node of the entries of each window of a pool, along a new first axis, with `fill` outside of x.

    params: of reduce_window and its like.
    batch_axis: of the pool's result.
    """
    grid = {name: params[f"window_{name}"] for name in ("strides", "dilation")}
    grid |= {"window": params["window_dimensions"], "padding": params["padding"], "base_dilation": params["base_dilation"]}
    move = functools.partial(windows, fill=0, **grid)
    shares, windowed = math.prod(grid["window"]), entries_of_windows(functools.partial(windows, fill=0), **grid)
    operation = Linear(move, move, structural=True, shares=shares, windowed=windowed)
    return tracer.node(operation, (x,), windows(x.value, fill, **grid), batch_axis + 1)


def _top(tracer, entries, batch_axis, name):
    """The node of the maximum over the first axis."""
    leader = leader_of(entries.value)

    def behind(d):
        return d - reductions.total_of(jnp.where(leader, d, 0))[None]

    def magnitude(r):
        return jnp.where(leader, 0, r + reductions.total_of(jnp.where(leader, r, 0))[None])

    def pull(functional):
        rows = functional.rows
        return [rows - jnp.where(functional.read(leader), reductions.total_of(rows)[None], 0)]

    windowed = stepped([None, *map(Step, range(1, entries.value.ndim))], pull=pull)
    operation = Linear(behind, magnitude, terms=0, shares=len(entries.value), windowed=windowed)
    leads = tracer.node(operation, (entries,), behind(entries.value), entries.batch_axis)
    return tracer.node(Largest(), (entries, leads), reductions.largest(entries.value), batch_axis, name)


RULES = {
    "max": hinge(0.0, 1.0),
    "min": hinge(1.0, 0.0),
    "abs": absolute,
    "clamp": rewritten(lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high)),
    "reduce_max": largest(1),
    "reduce_min": largest(-1),
    "reduce_window_max": window_largest,
}
