"""Functions with jumps, and sorting: floor, ceil, round, sign, rem, sort and top_k."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.graph import Linear, Node, Refused
from dsrna_jax.bounds.relaxations.step import Remainder, Sorted, StepFunction
from dsrna_jax.bounds.rules.building import broadcast_nodes, constant_node, nodes_of, rewritten


def step(function, strays=None):
    """The rule of a non-decreasing elementwise function, which takes the primitive's parameters by keyword.

    strays: as of a `StepFunction`.
    """

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        known = functools.partial(function, **params)
        return [tracer.node(StepFunction(known, strays), (x,), known(x.value), axes[0], primitive.name)]

    return rule


def remainder(tracer, primitive, operands, params, axes):
    """The rule of rem."""
    value = tracer.value(primitive, operands, params)
    x, divisor = (o if isinstance(o, Node) else constant_node(tracer, o, nodes_of(operands)[0]) for o in operands)
    return [tracer.node(Remainder(), broadcast_nodes(tracer, [x, divisor], axes), value, axes[0], "rem")]


def sort(tracer, primitive, operands, params, axes):
    """The rule of sort. Bounded keys have bounds, operands sorted by them have none; constant keys move the operands.

    Raises: NotImplementedError for several keys.
    """
    axis, keys = params["dimension"], operands[: params["num_keys"]]
    if len(keys) > 1:
        raise NotImplementedError(f"no bounds of a sort by several keys{tracer.where}")
    unknown = Refused(NotImplementedError(f"no bounds of operands that are sorted by bounded values{tracer.where}"))
    if isinstance(keys[0], Node):
        return [_sorted(tracer, keys[0], axis, axes[0]), *[unknown] * (len(operands) - 1)]
    order = jnp.argsort(keys[0], axis, stable=True)
    moved = [_ordered(tracer, o, order, axis) if isinstance(o, Node) else jnp.take_along_axis(o, order, axis) for o in operands]
    return moved


def _sorted(tracer, x, axis, batch_axis):
    ordered = _ordered(tracer, x, jnp.argsort(lax.stop_gradient(x.value), axis, stable=True), axis)
    return tracer.node(Sorted(axis), (ordered,), ordered.value, batch_axis, "sort")


def _ordered(tracer, x, order, axis):
    """The entries of a node in a known order along an axis."""
    move = lambda d: jnp.take_along_axis(d, jnp.broadcast_to(order, d.shape), axis)  # noqa: E731
    return tracer.node(Linear(move, move, structural=True), (x,), move(x.value), x.batch_axis)


def top_k(tracer, primitive, operands, params, axes):
    """The rule of top_k: values have bounds, indices have none."""
    (x,) = operands
    axis = params.get("axis", x.value.ndim - 1) % x.value.ndim
    largest = lambda x: lax.slice_in_dim(lax.rev(lax.sort(x, dimension=axis), [axis]), 0, params["k"], axis=axis)  # noqa: E731
    return [*tracer.inline(largest, x), Refused(NotImplementedError(f"no bounds of the indices of top_k{tracer.where}"))]


def approximate_top_k(x, *, k, reduction_dimension, is_max_k, aggregate_to_topk, **_):
    """The primitive approx_top_k, which is exact but on a TPU. Raises: NotImplementedError there, and for more results than k."""
    if jax.default_backend() == "tpu" or not aggregate_to_topk:
        raise NotImplementedError("no bounds of approximate maxima: take lax.top_k")
    largest, places = lax.top_k(x if is_max_k else -x, k, axis=reduction_dimension)
    return largest if is_max_k else -largest, places


RULES = {
    "floor": step(lambda x: jnp.floor(x), (-1.0, 0.0)),
    "ceil": step(lambda x: jnp.ceil(x), (0.0, 1.0)),
    "round": step(lambda x, rounding_method: lax.round(x, rounding_method), (-0.5, 0.5)),
    "sign": step(lambda x: jnp.sign(x)),
    "rem": remainder,
    "sort": sort,
    "top_k": top_k,
    "approx_top_k": rewritten(approximate_top_k),
}
