"""The windowed forms of affine operations.

Each says which windows of the parents the windows of a result depend on, and maps functionals of these to functionals of those.
`WINDOWED` has them by the name of the primitive, `PARTS` those of primitives with several results: functions of the operands and,
by keyword, the primitive's parameters, whose result is None where functionals are to hold all entries.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Windowed
from dsrna_jax.bounds.known import number


class Step(NamedTuple):
    """An axis of a parent along which entry i of the result's `axis` depends on `extent` entries from i * stride + shift."""

    axis: int
    stride: int = 1
    extent: int = 1
    shift: int = 0

    def of(self, frame):
        span = frame[self.axis]
        if span is None:
            return None
        size, offset = (span.size - 1) * self.stride + self.extent, span.offset * self.stride + self.shift
        # int: some of the parameters of JAX's primitives are integers of NumPy.
        return span._replace(size=int(size), stride=int(span.stride * self.stride), offset=int(offset))


Steps = Sequence[Step | None]  # by axis of a parent; None for an axis whose entries are all needed


def stepped(*parents: Steps, pull: Callable[..., list], whole=(), summed=()) -> Windowed:
    """The windowed form of an operation that keeps windows along the axes with a `Step`.

    Args:
      pull: `Windowed.pull`.
      whole: further axes along which all entries of the result are needed.
      summed: axes of the result that no parent has, so that the functional is summed along them.
    """
    kept = [{step.axis for step in steps if step is not None} | set(summed) for steps in parents]
    kept = set.intersection(*kept) - set(whole)

    def reach(frame):
        return [tuple(None if step is None else step.of(frame) for step in steps) for steps in parents]

    def held_whole(frame):
        return [i for i, span in enumerate(frame) if span is not None and i not in kept]

    return Windowed(held_whole, reach, pull)


def derived(deviation: Callable[..., Callable]) -> Callable[..., list]:
    """`Windowed.pull`, from a function of a functional that returns the operation between the windows of parents and result."""
    return lambda functional: transposed(functional, deviation(functional))


def transposed(functional, deviation) -> list:
    """The rows on the windows of the parents, by the operation between windows."""
    node, rows = functional.node, functional.rows
    batch = rows.shape[node.batch_axis + 1]
    shapes = []
    for parent, frame in zip(node.parents, node.operation.windowed.reach(functional.frame), strict=True):
        shape = [n if span is None else span.size for n, span in zip(parent.value.shape, frame, strict=True)]
        shape[parent.batch_axis] = batch
        shapes.append(jax.ShapeDtypeStruct(tuple(shape), parent.value.dtype))
    axes = tuple(p.batch_axis for p in node.parents)
    return list(jax.vmap(jax.linear_transpose(deviation, *shapes), node.batch_axis, axes)(rows))


def elementwise(*pulls: Callable) -> Windowed:
    """The windowed form of an operation whose parents have the result's shape; pulls map a functional to rows of a parent."""
    return Windowed(lambda frame: [], lambda frame: [frame] * len(pulls), lambda f: [pull(f) for pull in pulls], is_local=True)


def broadcasting(parents: Sequence[Node], shape, *pulls: Callable) -> Windowed:
    """`elementwise` for a result of `shape`, which some parents are broadcast to."""
    if all(parent.value.shape == tuple(shape) for parent in parents):
        return elementwise(*pulls)
    spread = [[i for i, n in enumerate(parent.value.shape) if n != shape[i]] for parent in parents]

    def pull(functional):
        parts = [pull(functional) for pull in pulls]
        return [p.sum([_axis_of_rows(functional, i) for i in axes], keepdims=True) for p, axes in zip(parts, spread, strict=True)]

    steps = [[None if i in axes else Step(i) for i in range(len(shape))] for axes in spread]
    return stepped(*steps, pull=pull, summed={i for axes in spread for i in axes})


def factor(node: Node, constant, shape, divides=False) -> Windowed:
    """A product of a node with a constant, or its quotient by it, of a given shape."""

    def pull(functional):
        known = constant if np.ndim(constant) == 0 else number(constant)
        by = functional.read(constant, 1.0) if known is None else jnp.asarray(known, functional.rows.dtype)
        return functional.rows / by if divides else functional.rows * by

    return broadcasting([node], shape, pull)


def window_shape(functional) -> tuple[int, ...]:
    """The shape of an example's windows, with the batch axis."""
    shape = list(functional.rows.shape)
    del shape[functional.node.batch_axis]
    return tuple(shape)


def _axis_of_rows(functional, axis):
    return axis + (axis >= functional.node.batch_axis)


def _shape(operand):
    return operand.value.shape if isinstance(operand, Node) else np.shape(operand)


def _broadcast(operands):
    return jnp.broadcast_shapes(*map(_shape, operands))


# ---- by primitive


def _product(operands, **_):
    nodes, constants = ([o for o in operands if isinstance(o, Node) == is_node] for is_node in (True, False))
    return factor(nodes[0], constants[0], _broadcast(operands)) if len(nodes) == 1 else None


def _quotient(operands, **_):
    x, divisor = operands
    return factor(x, divisor, _broadcast(operands), divides=True)


def _converted(operands, **_):
    (x,) = operands
    return elementwise(lambda f: f.rows.astype(x.value.dtype))


def _chosen(operands, **_):
    which, *cases = operands

    def of(i):
        def pull(functional):
            mask = functional.read(jnp.broadcast_to(which, functional.node.value.shape).astype(jnp.int32), -1)
            return jnp.where(mask == i, functional.rows, 0)

        return pull

    return elementwise(*(of(i) for i, case in enumerate(cases) if isinstance(case, Node)))


def _padded(operands, *, padding_config, **_):
    if not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        return None
    steps = [Step(i, shift=-low) for i, (low, _, _) in enumerate(padding_config)]

    def deviation(functional):
        own = [(0, 0, 0) if span is not None else pads for pads, span in zip(padding_config, functional.frame, strict=True)]
        return lambda d: lax.pad(d, jnp.zeros((), d.dtype), own)

    return stepped(steps, pull=derived(deviation), whole=[i for i, (_, _, interior) in enumerate(padding_config) if interior])


def _sliced(operands, *, start_indices, limit_indices, strides, **_):
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


def _permuted(operands, *, permutation, **_):
    steps = [Step(permutation.index(i)) for i in range(len(permutation))]
    return stepped(steps, pull=derived(lambda _: lambda d: jnp.transpose(d, permutation)))


def _flipped(operands, *, dimensions, **_):
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


def _reshaped(operands, *, shape, **_):
    """Axes that are neither merged nor split keep their windows."""
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


def _squeezed(operands, *, dimensions, **_):
    """The windowed form of squeeze, a reshape."""
    own = operands[0].value.shape
    return _reshaped(operands, shape=tuple(n for i, n in enumerate(own) if i not in {d % len(own) for d in dimensions}))


def _summed(operands, *, axes, **_):
    left = [i for i in range(operands[0].value.ndim) if i not in axes]
    steps = [Step(left.index(i)) if i in left else None for i in range(operands[0].value.ndim)]
    return stepped(steps, pull=derived(lambda _: lambda d: d.sum(axes)))


def _joined(operands, *, dimension, **_):
    sizes = [_shape(o)[dimension] for o in operands]
    starts = np.cumsum([0, *sizes]).tolist()
    places = [(start, size) for start, size, o in zip(starts, sizes, operands, strict=False) if isinstance(o, Node)]
    rank = next(o.value.ndim for o in operands if isinstance(o, Node))

    def pull(functional):
        if functional.frame[dimension] is not None:
            return [functional.rows] * len(places)
        axis = _axis_of_rows(functional, dimension)
        return [lax.slice_in_dim(functional.rows, start, start + size, axis=axis) for start, size in places]

    return stepped(*([Step(i, shift=-start * (i == dimension)) for i in range(rank)] for start, _ in places), pull=pull)


def _stacked(operands, *, axis, **_):
    places = [i for i, o in enumerate(operands) if isinstance(o, Node)]
    rank = operands[places[0]].value.ndim
    axis = axis % (rank + 1)

    def pull(functional):
        along = _axis_of_rows(functional, axis)
        return [lax.index_in_dim(functional.rows, place, along, keepdims=False) for place in places]

    return stepped(*([[Step(i + (i >= axis)) for i in range(rank)]] * len(places)), pull=pull)


def _part(operands, i, *, axis, sizes, **_):
    """Result i of split."""
    start = sum(sizes[:i])
    steps = [Step(j, shift=start * (j == axis)) for j in range(operands[0].value.ndim)]

    def deviation(functional):
        if functional.frame[axis] is not None:
            return lambda d: d
        return lambda d: lax.slice_in_dim(d, start, start + sizes[i], axis=axis)

    return stepped(steps, pull=derived(deviation))


def _unstacked(operands, i, *, axis, **_):
    """Result i of unstack."""
    rank = operands[0].value.ndim
    axis = axis % rank
    steps = [None if j == axis else Step(j - (j > axis)) for j in range(rank)]
    return stepped(steps, pull=derived(lambda _: lambda d: lax.index_in_dim(d, i, axis, keepdims=False)))


def _pooled(operands, *, window_dimensions, window_strides, padding, base_dilation, window_dilation, **_):
    grid = zip(window_strides, window_dimensions, window_dilation, padding, strict=True)
    steps = [Step(i, stride, (size - 1) * d + 1, -low) for i, (stride, size, d, (low, _)) in enumerate(grid)]

    def deviation(functional):
        own = [(0, 0) if span is not None else pads for pads, span in zip(padding, functional.frame, strict=True)]
        return lambda d: lax.reduce_window(
            d, np.zeros((), d.dtype), lax.add, window_dimensions, window_strides, own, base_dilation, window_dilation
        )

    return stepped(steps, pull=derived(deviation), whole=[i for i, d in enumerate(base_dilation) if d != 1])


def convolved(operands, *, pull_through, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **params) -> Any:
    """The windowed form of conv_general_dilated with a constant kernel.

    pull_through: the transposed convolution, a function (rows, kernel, shape, **params).
    """
    image, kernel = operands
    if not isinstance(image, Node) or isinstance(kernel, Node) or params["batch_group_count"] != 1:
        return None
    lhs, rhs, out = dimension_numbers
    steps: list[Step | None] = [None] * image.value.ndim
    for i, (stride, dilation, (low, _)) in enumerate(zip(window_strides, rhs_dilation, padding, strict=True)):
        extent = (kernel.shape[rhs[2 + i]] - 1) * dilation + 1
        steps[lhs[2 + i]] = Step(out[2 + i], stride, extent, -low)
    params |= {"window_strides": window_strides, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    params["dimension_numbers"] = dimension_numbers

    def pull(functional):
        own = [(0, 0) if functional.frame[out[2 + i]] is not None else padding[i] for i in range(len(padding))]
        if params["feature_group_count"] == 1 and set(lhs_dilation) == {1}:
            (frame,) = functional.node.operation.windowed.reach(functional.frame)
            shape = [n if span is None else span.size for n, span in zip(image.value.shape, frame, strict=True)]
            node = functional.node
            back = lambda rows: pull_through(rows, kernel, shape, **params, padding=own)  # noqa: E731
            return [jax.vmap(back, node.batch_axis, image.batch_axis)(functional.rows)]
        kinds = {
            k: v for k, v in params.items() if k in ("feature_group_count", "window_strides", "lhs_dilation", "rhs_dilation")
        }
        return transposed(
            functional,
            lambda d: lax.conv_general_dilated(d, kernel, padding=own, dimension_numbers=dimension_numbers, **kinds),
        )

    return stepped(steps, pull=pull, whole=[out[2 + i] for i, d in enumerate(lhs_dilation) if d != 1])


def convolved_by_channel(operands, *, primitive, taps, stride, size, **params):
    """The windowed form of `kernels.depthwise`."""
    image, kernel = operands
    rank = image.value.ndim
    steps: list[Step | None] = [None] * rank
    ends = [(min(o), max(o)) for o in zip(*taps, strict=True)]
    for i, (low, high) in enumerate(ends):
        steps[rank - 2 + i] = Step(rank - 1 + i, stride, high - low + 1, low)

    def deviation(functional):
        shifts = [low if span is not None else 0 for span, (low, _) in zip(functional.frame[-2:], ends, strict=True)]
        moved = tuple(tuple(o - s for o, s in zip(tap, shifts, strict=True)) for tap in taps)
        counts = functional.rows.shape[-2:]

        def local(d):
            result = primitive.bind(d, kernel, taps=moved, stride=stride, size=d.shape[-2:], **params)
            return result[..., : counts[0], : counts[1]]

        return local

    def pull(functional):
        """A product with one matrix for each channel, if windows are so small that it is faster than shifted sums."""
        (frame,) = functional.node.operation.windowed.reach(functional.frame)
        spans = [span for span in frame[-2:] if span is not None]
        if len(spans) < 2 or math.prod(span.size for span in spans) > 8 * len(taps):
            return transposed(functional, deviation(functional))
        shifts = []
        for side, (span, (low, _)) in enumerate(zip(spans, ends, strict=True)):
            entries = (
                stride * np.arange(functional.rows.shape[side - 2])[None] + np.array([tap[side] - low for tap in taps])[:, None]
            )
            shifts.append((entries[..., None] == np.arange(span.size)).astype(kernel.dtype))  # [tap, entry, entry of the image]
        matrices = jnp.einsum("tgmc,thy,twx->gmchwyx", kernel, *shifts)
        return [jnp.einsum("gmcrbhw,gmchwyx->gcrbyx", functional.rows, matrices)]

    return stepped(steps, pull=pull)


def mixed(operands, *, primitive, **params):
    """The windowed form of `kernels.pointwise`."""
    rank = operands[0].value.ndim
    steps = [Step(i) if i >= rank - 2 else None for i in range(rank)]
    return stepped(steps, pull=derived(lambda _: lambda d: primitive.bind(d, operands[1], **params)))


def contracted(matrix, constant, bounded, result) -> Windowed:
    """The windowed form of dot_general, by the einsum labels of the constant operand, of the bounded one, and of the result."""
    steps = [Step(result.index(label)) if label in result and label not in constant else None for label in bounded]

    def pull(functional):
        node = functional.node
        back = lambda rows: jnp.einsum(matrix, constant, rows, result, bounded)  # noqa: E731
        return [jax.vmap(back, node.batch_axis, node.parents[0].batch_axis)(functional.rows)]

    return stepped(steps, pull=pull)


def entries_of_windows(move: Callable, *, window, strides, padding, base_dilation, dilation) -> Windowed:
    """The windowed form of `kernels.windows`, with `move` a function of an array and of its parameters."""
    grid = zip(strides, window, dilation, padding, strict=True)
    steps = [Step(i + 1, stride, (size - 1) * d + 1, -low) for i, (stride, size, d, (low, _)) in enumerate(grid)]

    def deviation(functional):
        own = [(0, 0) if span is not None else pads for pads, span in zip(padding, functional.frame[1:], strict=True)]
        kinds = {"window": window, "strides": strides, "base_dilation": base_dilation, "dilation": dilation}
        return lambda d: move(d, padding=own, **kinds)

    return stepped(steps, pull=derived(deviation), whole=[0, *(i + 1 for i, d in enumerate(base_dilation) if d != 1)])


WINDOWED: dict[str, Callable] = {
    "mul": _product,
    "div": _quotient,
    "convert_element_type": _converted,
    "select_n": _chosen,
    "pad": _padded,
    "slice": _sliced,
    "transpose": _permuted,
    "rev": _flipped,
    "broadcast_in_dim": repeated,
    "reshape": lambda operands, *, new_sizes, **_: _reshaped(operands, shape=new_sizes),
    "squeeze": _squeezed,
    "reduce_sum": _summed,
    "concatenate": _joined,
    "stack": _stacked,
    "reduce_window_sum": _pooled,
}
PARTS: dict[str, Callable] = {"split": _part, "unstack": _unstacked}  # of operations with several results
