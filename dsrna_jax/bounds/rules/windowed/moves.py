"""Windowed forms of operations that move entries."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Windowed
from dsrna_jax.bounds.rules.windowed.form import Step, axis_of_rows, derived, shape_of, stepped, window_shape


def padded(operands, *, padding_config, **_):
    """The windowed form of pad; None unless the array alone is bounded."""
    if not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        return None
    steps = [Step(i, shift=-low) for i, (low, _, _) in enumerate(padding_config)]

    def deviation(functional):
        own = [(0, 0, 0) if span is not None else pads for pads, span in zip(padding_config, functional.frame, strict=True)]
        return lambda d: lax.pad(d, jnp.zeros((), d.dtype), own)

    return stepped(steps, pull=derived(deviation), whole=[i for i, (_, _, interior) in enumerate(padding_config) if interior])


def sliced(operands, *, start_indices, limit_indices, strides, **_):
    """The windowed form of slice."""
    strides = strides or (1,) * len(start_indices)
    steps = [Step(i, stride, shift=start) for i, (start, stride) in enumerate(zip(start_indices, strides, strict=True))]

    def deviation(functional):
        starts, limits = list(start_indices), list(limit_indices)
        for i, span in enumerate(functional.frame):
            if span is not None:
                starts[i], limits[i] = 0, (span.size - 1) * strides[i] + 1
            elif i == functional.node.batch_axis:
                limits[i] = window_shape(functional)[i]
        return lambda d: lax.slice(d, starts, limits, strides)

    return stepped(steps, pull=derived(deviation))


def permuted(operands, *, permutation, **_):
    """The windowed form of transpose."""
    steps = [Step(permutation.index(i)) for i in range(len(permutation))]
    return stepped(steps, pull=derived(lambda _: lambda d: jnp.transpose(d, permutation)))


def flipped(operands, *, dimensions, **_):
    """The windowed form of rev."""
    steps = [Step(i) for i in range(operands[0].value.ndim)]
    return stepped(steps, pull=derived(lambda _: lambda d: lax.rev(d, dimensions)), whole=dimensions)


def repeated(operands, *, shape, broadcast_dimensions, **_) -> Windowed:
    """The windowed form of broadcast_in_dim."""
    own = operands[0].value.shape
    steps = [Step(i) if n == shape[i] else None for i, n in zip(broadcast_dimensions, own, strict=True)]
    kept = {step.axis for step in steps if step is not None}

    def deviation(functional):
        return lambda d: lax.broadcast_in_dim(d, window_shape(functional), broadcast_dimensions)

    return stepped(steps, pull=derived(deviation), summed=[i for i in range(len(shape)) if i not in kept])


def reshaped(operands, *, shape, **_):
    """The windowed form of a reshape to `shape`: axes that are neither merged nor split keep their windows."""
    own, steps = operands[0].value.shape, [None] * operands[0].value.ndim
    before = [(i, n) for i, n in enumerate(own) if n != 1]
    after = [(i, n) for i, n in enumerate(shape) if n != 1]
    while before and after:
        olds, news = [before.pop(0)], [after.pop(0)]
        while (a := math.prod(n for _, n in olds)) != (b := math.prod(n for _, n in news)):
            (olds if a < b else news).append((before if a < b else after).pop(0))
        if len(olds) == len(news) == 1:
            steps[olds[0][0]] = Step(news[0][0])
    return stepped(steps, pull=derived(lambda f: lambda d: d.reshape(window_shape(f))))


def squeezed(operands, *, dimensions, **_):
    """The windowed form of squeeze, a reshape."""
    own = operands[0].value.shape
    return reshaped(operands, shape=tuple(n for i, n in enumerate(own) if i not in {d % len(own) for d in dimensions}))


def joined(operands, *, dimension, **_):
    """The windowed form of concatenate."""
    sizes = [shape_of(o)[dimension] for o in operands]
    starts = np.cumsum([0, *sizes]).tolist()
    places = [(start, size) for start, size, o in zip(starts, sizes, operands, strict=False) if isinstance(o, Node)]
    rank = next(o.value.ndim for o in operands if isinstance(o, Node))

    def pull(functional):
        if functional.frame[dimension] is not None:
            return [functional.rows] * len(places)
        if dimension == functional.node.batch_axis:  # of the whole batch and nothing, as `jnp.pad` writes it
            functional = functional.for_each_example()
        axis = axis_of_rows(functional, dimension)
        return [lax.slice_in_dim(functional.rows, start, start + size, axis=axis) for start, size in places]

    return stepped(*([Step(i, shift=-start * (i == dimension)) for i in range(rank)] for start, _ in places), pull=pull)


def stacked(operands, *, axis, **_):
    """The windowed form of stack."""
    places = [i for i, o in enumerate(operands) if isinstance(o, Node)]
    rank = operands[places[0]].value.ndim
    axis = axis % (rank + 1)

    def pull(functional):
        along = axis_of_rows(functional, axis)
        return [lax.index_in_dim(functional.rows, place, along, keepdims=False) for place in places]

    return stepped(*([[Step(i + (i >= axis)) for i in range(rank)]] * len(places)), pull=pull)


def part(operands, i, *, axis, sizes, **_):
    """The windowed form of result i of split."""
    start = sum(sizes[:i])
    steps = [Step(j, shift=start * (j == axis)) for j in range(operands[0].value.ndim)]

    def deviation(functional):
        if functional.frame[axis] is not None:
            return lambda d: d
        return lambda d: lax.slice_in_dim(d, start, start + sizes[i], axis=axis)

    return stepped(steps, pull=derived(deviation))


def unstacked(operands, i, *, axis, **_):
    """The windowed form of result i of unstack."""
    rank = operands[0].value.ndim
    axis = axis % rank
    steps = [None if j == axis else Step(j - (j > axis)) for j in range(rank)]
    return stepped(steps, pull=derived(lambda _: lambda d: lax.index_in_dim(d, i, axis, keepdims=False)))
