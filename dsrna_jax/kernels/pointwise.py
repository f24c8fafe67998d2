"""1×1 convolution of maps with channels in front, as a primitive whose derivatives are as fast as itself.

It is one matrix product. Autodiff of `dot_general` would give its derivatives transposed, with the long axis of pixels in the
wrong place, and XLA would copy them, which is slow on a CPU. As in `depthwise`, the three arrays are tied by one trilinear form,
and a bilinear primitive with a `solve` parameter is closed under differentiation of any order and mode:

    sum  output[..., d, pixel] * kernel[..., d, c] * image[..., c, pixel]        a pixel is (batch, row, column)
"""

import jax.numpy as jnp
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from dsrna_jax.kernels.lowering import (
    at_full_precision,
    define,
    matmul_precision,
    takes_precision,
    trilinear_transposes,
)
from dsrna_jax.kernels.mixed_precision import operands, wide_type

pointwise_p = Primitive("pointwise")


def pointwise(
    image: Float[Array, "*stack channel batch height width"], kernel: Float[Array, "*stack_or_none channel_out channel"]
) -> Float[Array, "*stack channel_out batch height width"]:
    """1×1 convolution: output[..., d, pixel] = sum over c of kernel[..., d, c] * image[..., c, pixel].

    Args:
      image: [*stack, channel, batch, height, width].
      kernel: [*stack, channel out, channel], or [channel out, channel] for all of the stack.
    Returns: [*stack, channel out, batch, height, width], in the type of the image if that has 16 bits.
    """
    image, kernel = operands(image, jnp.broadcast_to(kernel, (*image.shape[:-4], *kernel.shape[-2:])))
    return pointwise_p.bind(image, kernel, solve="output", precision=matmul_precision())


def _flat(maps):
    return maps.reshape(*maps.shape[:-3], -1)


@takes_precision
def _solved(first, second, *, solve):
    if solve == "kernel":
        return jnp.einsum("...dp,...cp->...dc", _flat(second), _flat(first), preferred_element_type=wide_type(first.dtype))
    matrix = (jnp.swapaxes(second, -1, -2) if solve == "image" else second).astype(first.dtype)
    result = jnp.einsum("...dc,...cp->...dp", matrix, _flat(first))
    return result.reshape(*result.shape[:-1], *first.shape[-3:])


def _abstract(first, second, *, solve, precision):
    if solve == "kernel":
        return first.update(shape=(*first.shape[:-4], second.shape[-4], first.shape[-4]), dtype=wide_type(first.dtype))
    return first.update(shape=(*first.shape[:-4], second.shape[-2 if solve == "output" else -1], *first.shape[-3:]))


def _batched(operands, axes, **params):
    """vmap: the mapped axis becomes another axis of the stack."""
    count = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    moved = [
        jnp.broadcast_to(o, (count, *o.shape)) if a is None else jnp.moveaxis(o, a, 0)
        for o, a in zip(operands, axes, strict=True)
    ]
    return pointwise_p.bind(*moved, **params), 0


define(
    pointwise_p,
    _solved,
    _abstract,
    _batched,
    static=("solve", "precision"),
    transposes=trilinear_transposes(pointwise_p),
    on={"cpu": at_full_precision(_solved)},
)
