"""Multiply-adds of a derived network, and those expected of a supernet, from their descriptions alone."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.path import Path, PathNetwork
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
    total, groups = jnp.float32(fixed), {}
    for index in range(supernet.cells):
        groups.setdefault(supernet.group(index), []).append(index)
    for alike in groups.values():
        own = np.sum([branches[index] for index in alike], axis=0)
        total += jnp.asarray(own, jnp.float32) @ jnp.asarray(supernet.mixture_of(alike[0], mixtures).branches)
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
        smaller = (-(-size[0] // 2), -(-size[1] // 2)) if layout.reduction else size
        others, of_branches = network.cell_multiply_adds(layout, size, smaller)
        total += others
        of_cells.append(of_branches)
        size = smaller
    return total + network.layouts[-1].output * network.classes, of_cells
