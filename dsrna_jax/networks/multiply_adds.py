"""Multiply-adds of a derived network, from its description alone."""

import math

from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.families import Size, family_of
from dsrna_jax.networks.network import Network
from dsrna_jax.networks.plan import Branch, Layout
from dsrna_jax.networks.stem import STEMS


def multiply_adds(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of all convolutions and of the last layer for one image, as the field counts them: no norms, pools or sums.

    The auxiliary head, used in training only, does not count.
    """
    height, width, colours = image_shape
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
        total += sum(_branch(branch, layout, size, smaller) for branch in layout.plan.branches)
        size = smaller
    return total + network.layouts[-1].output * network.classes


def _branch(branch: Branch, layout: Layout, size: Size, smaller: Size) -> int:
    """Multiply-adds of one operation in a cell whose inputs have `size` and whose nodes have the size `smaller`."""
    is_halving = layout.reduction and branch.source < 2
    operation, count = OPERATIONS[branch.primitive], family_of(branch.primitive).multiply_adds
    return count(operation, layout.channels, size if is_halving else smaller, smaller, 2 if is_halving else 1)
