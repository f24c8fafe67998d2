"""Gathers at a place that depends on the input, such as x[argmax(x)]: the entries at all places, and a choice among them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Refused, Whole
from dsrna_jax.bounds.relaxations.choice import AtPlace
from dsrna_jax.bounds.rules.building import constant_node
from dsrna_jax.errors import NotSeparableError
from dsrna_jax.inputs import is_known
from dsrna_jax.kernels.equations import evaluated


def gathered(tracer, equation, twin, inputs, value, axis) -> Node:
    """The node of a gather of single entries along one axis, at whole numbers; other axes may have known indices.

    Args:
      twin: the same equation at the other batch size.
      value, axis: of the result, and its batch axis.

    Raises: NotImplementedError for other gathers; NotSeparableError if they mix examples.
    """
    operand, index = inputs
    refusal = NotImplementedError(f"no bounds of gather{tracer.where} but of single entries along one axis")
    if not isinstance(index, Whole):
        raise refusal
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    columns = _columns(tracer, index.node) if len(numbers.start_index_map) > 1 else [index.node]
    bounded = [i for i, column in enumerate(columns) if isinstance(column, Node)]
    axes = [numbers.start_index_map[i] for i in bounded]
    if len(bounded) != 1 or sizes[axes[0]] != 1 or value.dtype.kind != "f" or not is_known(*columns):
        raise refusal
    (column,), (along,) = bounded, axes
    count = np.shape(operand.value if isinstance(operand, Node) else operand)[along]
    mode, fill = equation.params["mode"], equation.params["fill_value"]

    def entries(call, shape, known):
        starts = np.zeros((count, *shape), np.int32)
        for i, start in known.items():
            starts[..., i] = np.asarray(start)[..., 0]
        starts[..., column] = np.arange(count).reshape(-1, *[1] * (len(shape) - 1))
        return lambda x: jax.vmap(lambda start: evaluated(call.primitive, [x, start], call.params)[0])(starts)

    def place(shape):
        kept = [i for i in range(len(shape)) if i not in numbers.offset_dims]
        return lambda i: lax.broadcast_in_dim(lax.index_in_dim(i, column, i.ndim - 1, keepdims=False), shape, kept)

    own = entries(equation, index.value.shape, {i: c for i, c in enumerate(columns) if i != column})
    (at,) = tracer.inline(place(value.shape), index.node, twin=place(twin.outvars[0].aval.shape))
    if isinstance(operand, Node):
        (candidates,) = tracer.inline(own, operand, twin=entries(twin, twin.invars[1].aval.shape, {}))
    else:
        (spread,) = tracer.inline(lambda i: jnp.broadcast_to(i, (count, *i.shape)), at)
        candidates = constant_node(tracer, own(operand), spread)
    if isinstance(candidates, Refused):
        raise candidates.error
    if mode == lax.GatherScatterMode.CLIP:
        (at,) = tracer.inline(lambda i: jnp.clip(i, 0, count - 1), at)
    elif mode == lax.GatherScatterMode.FILL_OR_DROP and fill is not None and np.isfinite(fill):
        (at,) = tracer.inline(lambda i: jnp.clip(i + 1, 0, count + 1), at)
        (candidates,) = tracer.inline(lambda c: jnp.pad(c, [(1, 1)] + [(0, 0)] * (c.ndim - 1), constant_values=fill), candidates)
    if (at.batch_axis, candidates.batch_axis) != (axis, axis + 1):
        raise NotSeparableError(f"f is not batch-separable: gather{tracer.where} moves entries from one example to another")
    return tracer.node(AtPlace(), (at, candidates), value, axis, "gather")


def _columns(tracer, node) -> list:
    """The indices along each axis, [..., 1], that were joined along the last axis; the node alone if they were not."""
    for made in tracer.made.get(node, ()):
        if made.name == "concatenate" and made.params["dimension"] == node.value.ndim - 1:
            return list(made.operands)
    return [node]
