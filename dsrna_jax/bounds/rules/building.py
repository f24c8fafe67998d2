"""Parts of rules: the nodes of linear operations, broadcasting, rewrites."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dsrna_jax.bounds.graph import Linear, Node, Predicate, Whole
from dsrna_jax.bounds.rules.windowed import PARTS, WINDOWED
from dsrna_jax.bounds.rules.windowed.form import elementwise
from dsrna_jax.bounds.rules.windowed.moves import repeated
from dsrna_jax.kernels.borders import apart
from dsrna_jax.kernels.equations import evaluated

Rule = Callable[..., list]  # (tracer, primitive, operands, params, axes) -> outputs


def values(operands) -> list:
    """The values of the operands at the trace point."""
    return [o.value if isinstance(o, Node | Predicate | Whole) else o for o in operands]


def nodes_of(operands) -> list[Node]:
    """The bounded operands."""
    return [o for o in operands if isinstance(o, Node)]


def with_axes_in_front(x, *, axes) -> jax.Array:
    """x with `axes` merged into one in front of the others: [entry, *others]."""
    others = [i for i in range(x.ndim) if i not in axes]
    return jnp.transpose(x, (*axes, *others)).reshape(-1, *(x.shape[i] for i in others))


def evaluated_shape(primitive, operands, params):
    """Shape of the primitive's output."""
    return jax.eval_shape(lambda *v: evaluated(primitive, v, params)[0], *values(operands)).shape


def linear(tracer, primitive, operands, params, axes, constants, positive, of_deviations=None, **kinds):
    """Nodes of an operation that is linear in its bounded operands.

    Args:
      constants: the operands with which deviations are computed; those in the place of nodes are ignored.
      positive: maps q to the operands with the absolute values of the coefficients to the power q.
      of_deviations: the parameters with which deviations are computed, if they are others.
      kinds: fields of `graph.Linear`.
    """
    call = _call(primitive, operands, params if of_deviations is None else of_deviations)
    outputs = evaluated(primitive, values(operands), params)
    whole = Linear(functools.partial(call, constants=constants), lambda *r: call(*r, constants=positive(1)))
    windowed = kinds.pop("windowed") if "windowed" in kinds else None
    if primitive.name in WINDOWED:
        windowed = WINDOWED[primitive.name](operands, **params)

    def node(i, value, axis):
        own = PARTS[primitive.name](operands, i, **params) if primitive.name in PARTS else windowed
        operation = Linear(
            lambda *d: whole.deviation(*d)[i],
            lambda *r: whole.magnitude(*r)[i],
            power=lambda q: lambda r: call(r, constants=positive(q))[i],
            one_of=(i, whole) if len(outputs) > 1 else None,
            windowed=own,
            **kinds,
        )
        return tracer.node(operation, nodes_of(operands), value, axis)

    return [node(i, *pair) for i, pair in enumerate(zip(outputs, axes, strict=True))]


def _call(primitive, operands, params):
    """The primitive as a function of its bounded operands, and of the constants that take the place of the others."""

    def f(*arrays, constants=tuple(operands)):
        arrays = map(apart, arrays) if primitive.name in ("concatenate", "stack") else iter(arrays)
        return evaluated(
            primitive, [next(arrays) if isinstance(o, Node) else c for o, c in zip(operands, constants, strict=True)], params
        )

    return f


def broadcast_nodes(tracer, operands, axes) -> list[Node]:
    """The bounded operands, broadcast to the shape that all operands have together."""
    shape = jnp.broadcast_shapes(*map(jnp.shape, values(operands)))
    move = lambda x: jnp.broadcast_to(x, shape)  # noqa: E731

    def spread(node):
        if node.value.shape == shape:
            return node
        ahead = len(shape) - node.value.ndim
        windowed = repeated([node], shape=shape, broadcast_dimensions=tuple(range(ahead, len(shape))))
        shares = math.prod(shape) // node.value.size
        return tracer.node(
            Linear(move, move, structural=True, shares=shares, windowed=windowed), (node,), move(node.value), axes[0]
        )

    return [spread(node) for node in nodes_of(operands)]


def constant_node(tracer, constant, like):
    """A constant as a node that deviates by 0, of the shape of the node `like`."""
    value = jnp.broadcast_to(constant, like.value.shape)
    windowed = elementwise(lambda functional: jnp.zeros_like(functional.rows, like.value.dtype))
    zero = functools.partial(jnp.zeros_like, dtype=value.dtype)
    return tracer.node(Linear(zero, zero, increasing=True, windowed=windowed), (like,), value, like.batch_axis)


def rewritten(function: Callable) -> Rule:
    """The rule of a primitive, from a function of its operands and, by keyword, its parameters that computes the same."""

    def rule(tracer, primitive, operands, params, axes):
        if any(isinstance(operand, Predicate) for operand in operands):
            raise NotImplementedError(f"the rule of {primitive.name} takes numbers, and no truth values{tracer.where}")
        return tracer.inline(functools.partial(function, **params), *operands)

    rule.is_rewritten = True  # its operations are checked one by one
    return rule
