"""What products do: linear with one bounded operand, relaxed with two."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.relaxations import Product
from dsrna_jax.bounds.rules.affine import broadcast_nodes, evaluated_shape, known_composition, linear, nodes_of, values
from dsrna_jax.bounds.rules.nonlinear import RECIPROCAL, curve
from dsrna_jax.bounds.tracing import evaluated
from dsrna_jax.kernels.depthwise import depthwise


def scaled(singleton=False, **kinds):
    """Bilinear operations with one constant operand."""

    def rule(tracer, primitive, operands, params, axes):
        if len(nodes_of(operands)) > 1:
            return _both_bounded(tracer, primitive, operands, params, axes)
        absolute = lambda q: [o if isinstance(o, Node) else jnp.abs(o) ** q for o in operands]  # noqa: E731
        alone = singleton and nodes_of(operands)[0].value.shape == tuple(evaluated_shape(primitive, operands, params))
        return linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone, **kinds)

    return rule


def trilinear(tracer, primitive, operands, params, axes):
    if params["solve"] != "output" or not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        raise NotImplementedError(f"no bounds of {primitive.name} but by its image{tracer.where}")

    def both(mid, radius):
        """One call, since these take hundreds of operations to write."""
        call = jax.vmap(lambda image, kernel: evaluated(primitive, [image, kernel], params)[0])
        return call(jnp.stack([mid, radius]), jnp.stack([operands[1], jnp.abs(operands[1])]))

    return scaled(both=both)(tracer, primitive, operands, params, axes)


def convolution(tracer, primitive, operands, params, axes):
    image, kernel = operands
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    is_depthwise = (
        isinstance(image, Node)
        and not isinstance(kernel, Node)
        and image.value.ndim == 4
        and groups == image.value.shape[numbers.lhs_spec[1]] > 1
        and params["batch_group_count"] == 1
        and params["lhs_dilation"] == (1, 1)
        and len(set(params["window_strides"])) == 1
    )
    if not is_depthwise:
        kinds = {}
        if isinstance(image, Node) and groups == params["batch_group_count"] == 1 and set(params["lhs_dilation"]) == {1}:
            kinds["transposed"] = lambda rows: (_pulled_through(rows, kernel, image.value.shape, **params),)
            output = evaluated_shape(primitive, operands, params)
            positions = math.prod(output[i] for i in numbers.out_spec[2:])
            kinds["unfolded"] = positions * kernel.size // kernel.shape[numbers.rhs_spec[0]]
        return scaled(**kinds)(tracer, primitive, operands, params, axes)
    return tracer.inline(functools.partial(_shifted_convolution, **params), image, kernel)


def _shifted_convolution(image, kernel, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """A depthwise conv_general_dilated by our own primitive, which is some thirty times faster on a CPU, also transposed."""
    lhs, rhs, out = dimension_numbers
    maps = jnp.transpose(image, (lhs[1], lhs[0], *lhs[2:]))[None]  # [1, channel, batch, height, width]
    channels, size, stride = maps.shape[1], maps.shape[-2:], window_strides[0]
    taps = jnp.transpose(kernel, (*rhs[2:], rhs[0], rhs[1]))[..., 0]  # [height, width, channel * multiple]
    sides = taps.shape[:2]
    offsets = [tuple(t * d - p[0] for t, d, p in zip(tap, rhs_dilation, padding, strict=True)) for tap in np.ndindex(*sides)]
    wanted = [(n + sum(p) - (k - 1) * d - 1) // stride + 1 for n, p, k, d in zip(size, padding, sides, rhs_dilation, strict=True)]
    extra = [max(w * stride - n, 0) for w, n in zip(wanted, size, strict=True)]
    maps = jnp.pad(maps, [(0, 0)] * 3 + [(0, e) for e in extra])
    kernels = jnp.moveaxis(taps.reshape(len(offsets), 1, channels, -1), -1, 2)
    result = depthwise(maps, kernels, offsets, stride=stride)[0, ..., : wanted[0], : wanted[1]]
    result = jnp.moveaxis(result, 0, 1).reshape(-1, *result.shape[2:])  # [channel * multiple, batch, height, width]
    return jnp.transpose(result, np.argsort((out[1], out[0], *out[2:])))


def _pulled_through(rows, kernel, shape, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """Functionals of a convolution to those of its image, of `shape`: one matrix product, then a shifted sum over the kernel.

    XLA's own transposed convolution takes longer on a CPU, most of all in a loop.
    """
    lhs, rhs, out = dimension_numbers
    kernel = jnp.transpose(kernel, (*rhs[2:], *rhs[:2]))  # [*spatial, out, in]
    sides, size = kernel.shape[:-2], [shape[i] for i in lhs[2:]]
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    products = jnp.einsum("n...o,toi->tn...i", jnp.transpose(rows, (out[0], *out[2:], out[1])), taps)
    total = 0.0
    for product, tap in zip(products, np.ndindex(*sides), strict=True):
        borders = []
        for n, count, place, stride, dilation, (low, _) in zip(
            size, product.shape[1:-1], tap, window_strides, rhs_dilation, padding, strict=True
        ):
            first = place * dilation - low
            borders.append((first, n - first - ((count - 1) * stride + 1), stride - 1))
        total = total + lax.pad(product, np.zeros((), product.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
    return jnp.transpose(total, np.argsort((lhs[0], *lhs[2:], lhs[1])))


def product_of_matrices(tracer, primitive, operands, params, axes):
    kinds = {}
    if len(nodes_of(operands)) == 1:
        # As an einsum, which puts the result's axes where they belong; JAX's own transposition copies the whole array for that.
        is_left = isinstance(operands[0], Node)
        bounded, constant, result = _dot_labels(*map(np.ndim, values(operands)), params["dimension_numbers"], is_left)
        matrix = operands[1] if is_left else operands[0]
        kinds["transposed"] = lambda rows: (jnp.einsum(matrix, constant, rows, result, bounded),)
    return scaled(**kinds)(tracer, primitive, operands, params, axes)


def _dot_labels(left_rank, right_rank, dimension_numbers, is_left):
    """Labels of the axes of a dot_general: of the bounded operand, of the constant one, and of the result."""
    (left_sum, right_sum), (left_batch, right_batch) = dimension_numbers
    left, right = list(range(left_rank)), [left_rank + i for i in range(right_rank)]
    for i, j in itertools.chain(zip(left_sum, right_sum, strict=True), zip(left_batch, right_batch, strict=True)):
        right[j] = left[i]
    shared, summed = [left[i] for i in left_batch], [left[i] for i in left_sum]
    result = shared + [n for n in left + right if n not in shared + summed]
    return (left, right, result) if is_left else (right, left, result)


def _both_bounded(tracer, primitive, operands, params, axes):
    if primitive.name == "mul":
        return _product(tracer, primitive, operands, params, axes)
    if primitive.name == "dot_general":
        return tracer.inline(functools.partial(_dot_by_products, **params), *operands)
    raise NotImplementedError(f"no bounds of {primitive.name} with two bounded operands{tracer.where}")


def _dot_by_products(a, b, *, dimension_numbers, **_):
    """dot_general as a sum of elementwise products."""
    (left, right), (left_batch, right_batch) = dimension_numbers
    names = itertools.count()
    a_names, b_names = [None] * a.ndim, [None] * b.ndim
    for i, j in itertools.chain(zip(left_batch, right_batch, strict=True), zip(left, right, strict=True)):
        a_names[i] = b_names[j] = next(names)
    a_names = [next(names) if n is None else n for n in a_names]
    b_names = [next(names) if n is None else n for n in b_names]
    shared, summed = [a_names[i] for i in left_batch], [a_names[i] for i in left]
    free = [n for n in a_names + b_names if n not in shared and n not in summed]
    order = shared + free + summed

    def placed(x, own):
        x = jnp.transpose(x, [own.index(n) for n in order if n in own])
        return x.reshape([x.shape[[m for m in order if m in own].index(n)] if n in own else 1 for n in order])

    product = placed(a, a_names) * placed(b, b_names)
    return product.sum(tuple(range(len(shared) + len(free), len(order))))


def _product(tracer, primitive, operands, params, axes):
    known = known_composition(tracer, primitive, operands, params, axes)
    if known is not None:
        return known
    a, b = broadcast_nodes(tracer, operands, axes)
    return [tracer.node(Product(), (a, b), a.value * b.value, axes[0], "product")]


def quotient(tracer, primitive, operands, params, axes):
    if isinstance(operands[1], Node):
        known = known_composition(tracer, primitive, operands, params, axes)
        if known is not None:
            return known
        (inverse,) = curve(RECIPROCAL, "reciprocal")(tracer, None, [operands[1]], {}, axes)
        return tracer.inline(lambda a, b: a * b, operands[0], inverse)
    absolute = lambda q: [operands[0], jnp.abs(operands[1]) ** q]  # noqa: E731
    alone = operands[0].value.shape == tuple(evaluated_shape(primitive, operands, params))
    return linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone)
