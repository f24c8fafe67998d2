"""Multiply-adds of a derived network, and those expected of a supernet, from their descriptions alone."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.families import Size, family_of
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.path import Path, PathNetwork
from dsrna_jax.networks.plan import Branch, Layout
from dsrna_jax.networks.stem import STEMS


def multiply_adds(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of all convolutions and of the last layer for one image, as the field counts them: no norms, pools or sums.

    The auxiliary head, used in training only, does not count.
    """
    fixed, branches = _counts(network, image_shape)
    return fixed + sum(map(sum, branches))


def expected_multiply_adds(
    supernet: Network, image_shape: tuple[int, int, int], mixtures: Mapping[str, Mixture]
) -> Float[Array, ""]:
    """Multiply-adds of a supernet for one image, each operation times its weight in the mixture of its edge.

    An operation counts as in a derived network, on all channels of its edge. Differentiable in the mixtures.
    """
    fixed, branches = _counts(supernet, image_shape)
    total = jnp.float32(fixed)
    for kind, weights in mixtures.items():
        own = [
            counts for layout, counts in zip(supernet.layouts, branches, strict=True) if layout.reduction == (kind == "reduction")
        ]
        total += jnp.asarray(np.sum(own, axis=0), jnp.float32) @ jnp.asarray(weights.branches)
    return total


def path_multiply_adds(network: PathNetwork, image_shape: tuple[int, int, int], path: Path) -> Float[Array, ""]:
    """Multiply-adds of a path for one image, as in a derived network; a path [cell, step] may be traced."""
    fixed, branches = _counts(network, image_shape)
    count = len(network.operations)
    table = np.pad(np.array(branches).reshape(network.cells, -1, count), [(0, 0), (0, 0), (0, 1)])  # the last for `none`
    operations = jnp.where((path.operations < 0) | (path.operations > count), count, path.operations)
    steps = jnp.asarray(table, jnp.float32)[jnp.arange(network.cells)[:, None], path.edges, operations]
    return fixed + steps.sum()


def _counts(network: Network, image_shape: tuple[int, int, int]) -> tuple[int, list[list[int]]]:
    """Multiply-adds of all that is no branch, and of the branches of every cell."""
    height, width, colours = image_shape
    of_cells = []
    if network.start != "cifar":
        quarter, eighth = (-(-height // 4), -(-width // 4)), (-(-height // 8), -(-width // 8))
        channels, _ = STEMS[network.start].widths(network.channels)
        total = 9 * colours * (channels // 2) * -(-height // 2) * -(-width // 2)
        total += 9 * (channels // 2) * channels * math.prod(quarter) + 9 * channels * channels * math.prod(eighth)
        size = eighth
    else:
        size = (height, width)
        total = 9 * colours * 3 * network.channels * height * width
    for layout in network.layouts:
        # Also where it halves the input before the last, preprocessing is a 1x1 convolution with an output of this cell's size.
        total += (layout.before + layout.last) * layout.channels * math.prod(size)
        smaller = (-(-size[0] // 2), -(-size[1] // 2)) if layout.reduction else size
        of_cells.append([_branch(branch, layout, size, smaller) for branch in layout.plan.branches])
        size = smaller
    return total + network.layouts[-1].output * network.classes, of_cells


def _branch(branch: Branch, layout: Layout, size: Size, smaller: Size) -> int:
    """Multiply-adds of one operation in a cell whose inputs have `size` and whose nodes have the size `smaller`."""
    is_halving = layout.reduction and branch.source < 2
    operation, count = OPERATIONS[branch.primitive], family_of(branch.primitive).multiply_adds
    return count(operation, layout.channels, size if is_halving else smaller, smaller, 2 if is_halving else 1)
