"""Mixed precision: maps may have 16 bits (bfloat16); kernels, sums and gradients by kernels are of float32 or wider."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array


def wide_type(dtype: DTypeLike) -> jnp.dtype:
    """The type of sums of values of `dtype`: float32, or `dtype` if that is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def wide(x: Array) -> Array:
    """x in float32 or, if it is wider, as it is."""
    return x.astype(wide_type(x.dtype))


def operands(image: Array, kernel: Array) -> tuple[Array, Array]:
    """Image and kernel of a convolution: maps of 16 bits with a kernel in float32, others both in the smallest type that fits."""
    image, kernel = jnp.asarray(image), jnp.asarray(kernel)
    if jnp.issubdtype(image.dtype, jnp.floating) and image.dtype.itemsize < 4:
        return image, kernel.astype(jnp.float32)
    dtype = jnp.result_type(image, kernel)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = wide_type(dtype)
    return image.astype(dtype), kernel.astype(dtype)


def scaled(maps: Array, factors: Array) -> Array:
    """maps * factors in the type of the maps, computed in float32 or wider, in which the gradient by the factors is summed."""
    return (wide(maps) * factors).astype(maps.dtype)
