"""Convolutions by constant kernels: those of JAX, and the project's own primitives."""

import math

import jax
import jax.numpy as jnp

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.rules.building import values
from dsrna_jax.bounds.rules.products import scaled
from dsrna_jax.bounds.rules.windowed.convolutions import convolved, convolved_by_channel, convolved_with_channels_last, mixed
from dsrna_jax.kernels.borders import apart
from dsrna_jax.kernels.equations import evaluated
from dsrna_jax.kernels.own_convolutions import is_spread, own_convolution

# From the shape of a kernel: the terms of an entry of the output, and of the transposed operation.
SUMS = {
    "pointwise": lambda shape: (shape[-1], shape[-2]),
    "depthwise": lambda shape: (shape[0], shape[0] * shape[2]),
    "convolution": lambda shape: (math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]),
}
WINDOWED = {"pointwise": mixed, "depthwise": convolved_by_channel, "convolution": convolved_with_channels_last}


def trilinear(tracer, primitive, operands, params, axes):
    """The rule of the package's own convolutions (`kernels`). Raises: NotImplementedError unless the kernel is constant."""
    if params["solve"] != "output" or not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        raise NotImplementedError(f"bounds of {primitive.name} need a constant kernel{tracer.where}")

    def both(mid, radius):
        """(A mid, |A| radius) by one call, because a call adds many operations to the program."""
        call = jax.vmap(lambda image, kernel: evaluated(primitive, [image, kernel], params)[0])
        return call(jnp.stack([apart(mid), apart(radius)]), jnp.stack([operands[1], jnp.abs(operands[1])]))

    name, shape = primitive.name, operands[1].shape
    terms, shares = SUMS[name](shape)
    kinds = {"terms": terms, "shares": shares, "windowed": WINDOWED[name](operands, primitive=primitive, **params)}
    if name != "convolution":  # XLA would compute that by groups
        kinds["both"] = both
    return scaled(**kinds)(tracer, primitive, operands, params, axes)


def convolution(tracer, primitive, operands, params, axes):
    """The rule of conv_general_dilated, which becomes one of our own where it can."""
    image, kernel = operands
    if isinstance(image, Node) and not isinstance(kernel, Node):
        if not is_spread(params) and (own := own_convolution(image.value, params)):
            return tracer.inline(own, image, kernel)
        numbers = params["dimension_numbers"]
        outputs, inputs = (kernel.shape[i] for i in numbers.rhs_spec[:2])
        sums = {"terms": kernel.size // outputs, "shares": kernel.size // inputs // params["feature_group_count"]}
        return scaled(windowed=convolved(operands, **params), **sums)(tracer, primitive, operands, params, axes)
    size = max(math.prod(jnp.shape(v)) for v in values(operands))
    return scaled(terms=size, shares=size)(tracer, primitive, operands, params, axes)


RULES = {"conv_general_dilated": convolution} | dict.fromkeys(SUMS, trilinear)
