"""The FSP distance of a network between images and attacked ones, by which RobNet prunes (Guo et al. 2020, section 3.3)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.networks.layers import Images, Map


def fsp_matrix(entering: Map, leaving: Map) -> Float[Array, "batch channel_in channel_out"]:
    """G = the mean over the pixels of the products of the channels of two maps; the larger map is pooled first (2x2, max)."""
    if entering.shape[-2:] != leaving.shape[-2:]:
        entering = max_pool(entering, 2, 2)
    return jnp.einsum("cbhw,dbhw->bcd", entering, leaving) / (leaving.shape[-2] * leaving.shape[-1])


def fsp_distance(function: NetworkFunction, images: Images, attacked: Images) -> Float[Array, " batch"]:
    """Sum of squares of G(x) - G(x') between input and output of a cell, the mean of the last third of the cells.

    RobNet takes deep cells, in which robust and other networks differ most.
    """
    deep = -(-len(function.cells) // 3)

    def matrices(x):
        (before, last), by_cell = function.stem(x), []
        for cell in function.cells:
            before, last = last, cell(before, last)
            by_cell.append(fsp_matrix(before, last))
        return by_cell[-deep:]

    pairs = zip(matrices(images), matrices(attacked), strict=True)
    return jnp.stack([jnp.square(a - b).sum((1, 2)) for a, b in pairs]).mean(0)
