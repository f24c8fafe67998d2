"""Convolutions by constant kernels: those of JAX, and the project's own primitives."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.jaxprs import evaluated
from dsrna_jax.bounds.rules.building import evaluated_shape, values
from dsrna_jax.bounds.rules.products import scaled
from dsrna_jax.bounds.rules.windowed.convolutions import convolved, convolved_by_channel, mixed
from dsrna_jax.kernels.borders import apart
from dsrna_jax.kernels.depthwise import depthwise


def trilinear(tracer, primitive, operands, params, axes):
    """The rule of depthwise and pointwise convolutions (`kernels`). Raises: NotImplementedError unless the kernel is constant."""
    if params["solve"] != "output" or not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        raise NotImplementedError(f"bounds of {primitive.name} need a constant kernel{tracer.where}")

    def both(mid, radius):
        """(A mid, |A| radius) by one call, because a call adds many operations to the program."""
        call = jax.vmap(lambda image, kernel: evaluated(primitive, [image, kernel], params)[0])
        return call(jnp.stack([apart(mid), apart(radius)]), jnp.stack([operands[1], jnp.abs(operands[1])]))

    shape = operands[1].shape
    terms, shares = (shape[-1], shape[-2]) if primitive.name == "pointwise" else (shape[0], shape[0] * shape[2])
    windowed = (mixed if primitive.name == "pointwise" else convolved_by_channel)(operands, primitive=primitive, **params)
    return scaled(both=both, terms=terms, shares=shares, windowed=windowed)(tracer, primitive, operands, params, axes)


def convolution(tracer, primitive, operands, params, axes):
    """The rule of conv_general_dilated; depthwise convolutions become our own primitive."""
    image, kernel = operands
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    if not isinstance(image, Node) or isinstance(kernel, Node):
        size = max(math.prod(jnp.shape(v)) for v in values(operands))
        return scaled(terms=size, shares=size)(tracer, primitive, operands, params, axes)
    is_depthwise = (
        image.value.ndim == 4
        and groups == image.value.shape[numbers.lhs_spec[1]] > 1
        and params["batch_group_count"] == 1
        and params["lhs_dilation"] == (1, 1)
        and len(set(params["window_strides"])) == 1
    )
    if not is_depthwise:
        outputs, inputs = (kernel.shape[i] for i in numbers.rhs_spec[:2])
        kinds = {"terms": kernel.size // outputs, "shares": kernel.size // inputs // groups}
        if groups == params["batch_group_count"] == 1 and set(params["lhs_dilation"]) == {1}:
            kinds["transposed"] = lambda rows: (_pulled_through(rows, kernel, image.value.shape, **params),)
            output = evaluated_shape(primitive, operands, params)
            positions = math.prod(output[i] for i in numbers.out_spec[2:])
            kinds["unfolded"] = positions * kernel.size // kernel.shape[numbers.rhs_spec[0]]
        kinds["windowed"] = convolved(operands, pull_through=_pulled_through, **params)
        return scaled(**kinds)(tracer, primitive, operands, params, axes)
    return tracer.inline(functools.partial(_shifted_convolution, **params), image, kernel)


def _shifted_convolution(image, kernel, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """A depthwise conv_general_dilated by `kernels.depthwise`, which is faster on a CPU, also transposed."""
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
    return jnp.transpose(result, _inverse(out[1], out[0], *out[2:]))


def _pulled_through(rows, kernel, shape, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """The transposed convolution, to an image of `shape`: a matrix product, then shifted sums over the taps.

    XLA's own takes longer on a CPU, most of all in a loop. The sums go by pixels with the same remainder modulo the strides.
    """
    lhs, rhs, out = dimension_numbers
    kernel = jnp.transpose(kernel, (*rhs[2:], *rhs[:2]))  # [*spatial, out, in]
    sides, size = kernel.shape[:-2], [shape[i] for i in lhs[2:]]
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    products = jnp.einsum("n...o,toi->tn...i", jnp.transpose(rows, (out[0], *out[2:], out[1])), taps)
    counts, rank = products.shape[2:-1], len(sides)
    if math.prod(counts) == 1:
        placed = jnp.moveaxis(products.reshape(*sides, products.shape[1], -1), rank, 0)
        borders = [
            (-low, n + low - (side - 1) * d - 1, d - 1)
            for n, side, d, (low, _) in zip(size, sides, rhs_dilation, padding, strict=True)
        ]
        total = lax.pad(placed, np.zeros((), placed.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
        return jnp.transpose(total, _inverse(lhs[0], *lhs[2:], lhs[1]))
    lengths, parts = [-(-n // stride) for n, stride in zip(size, window_strides, strict=True)], []
    for phase in np.ndindex(*window_strides):
        part = jnp.zeros((products.shape[1], *lengths, products.shape[-1]), products.dtype)
        for product, tap in zip(products, np.ndindex(*sides), strict=True):
            firsts = [place * d - low for place, d, (low, _) in zip(tap, rhs_dilation, padding, strict=True)]
            if all(first % stride == p for first, stride, p in zip(firsts, window_strides, phase, strict=True)):
                starts = [first // stride for first, stride in zip(firsts, window_strides, strict=True)]
                borders = [(start, n - start - count, 0) for start, n, count in zip(starts, lengths, counts, strict=True)]
                part = part + lax.pad(product, np.zeros((), product.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
        parts.append(part)
    total = parts[0]
    if len(parts) > 1:
        by_phase = jnp.stack(parts).reshape(*window_strides, *parts[0].shape)
        pairs = [axis for i in range(rank) for axis in (rank + 1 + i, i)]
        total = jnp.transpose(by_phase, (rank, *pairs, 2 * rank + 1))
        total = total.reshape(len(parts[0]), *(n * stride for n, stride in zip(lengths, window_strides, strict=True)), -1)
        total = lax.slice(total, [0] * total.ndim, (len(total), *size, total.shape[-1]))
    return jnp.transpose(total, _inverse(lhs[0], *lhs[2:], lhs[1]))


def _inverse(*permutation):
    return tuple(map(int, np.argsort(permutation)))


RULES = {"conv_general_dilated": convolution, "depthwise": trilinear, "pointwise": trilinear}
