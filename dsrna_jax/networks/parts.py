"""The parts of a network, from its description alone, and the cost of all of them, or that expected of a supernet."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.plan import Part
from dsrna_jax.networks.stem import STEMS


class Parts(NamedTuple):
    """The parts of a network: those that are no branch, and the branches of every cell in the order of its plan."""

    fixed: list[Part]
    branches: list[list[Part]]


CostOf = Callable[[Part], float]


def parts(network: Network, image_shape: tuple[int, int, int]) -> Parts:
    """The parts of a network for images [height, width, channel]; the auxiliary head, used in training only, is none."""
    height, width, colours = image_shape
    # The sides of the inputs of the first cell.
    before, last = [(-(-height // scale), -(-width // scale)) for scale in STEMS[network.start].scales]
    layouts = network.layouts
    fixed, branches = [Part(f"stem_{network.start}", colours, layouts[0].last, height, width)], []
    for layout in layouts:
        others, of_branches = network.cell_parts(layout, before, last)
        fixed.extend(others)
        branches.append(of_branches)
        before, last = last, (-(-last[0] // 2), -(-last[1] // 2)) if layout.reduction else last
    return Parts([*fixed, Part("head", layouts[-1].output, network.classes, *last)], branches)


def is_free(part: Part) -> bool:
    """Whether a part hands on what it gets, or nothing, so that it costs nothing: an identity, or `none`."""
    operation = OPERATIONS.get(part.name)
    return operation is not None and (operation.family == "none" or (operation.family == "skip" and part.stride == 1))


def cost(network: Network, image_shape: tuple[int, int, int], cost_of: CostOf) -> float:
    """The sum of the costs of all parts."""
    fixed, branches = parts(network, image_shape)
    return sum(map(cost_of, fixed)) + sum(sum(map(cost_of, row)) for row in branches)


def expected_cost(
    supernet: Network, image_shape: tuple[int, int, int], mixtures: Mapping[str, Mixture], cost_of: CostOf
) -> Float[Array, ""]:
    """The sum of the costs of all parts, those of an operation times its weight in the mixture of its edge.

    An operation counts as in a derived network, on all channels of its edge. Differentiable in the mixtures.
    """
    fixed, branches = parts(supernet, image_shape)
    total, groups = jnp.float32(sum(map(cost_of, fixed))), {}
    for index in range(supernet.cells):
        groups.setdefault(supernet.group(index), []).append(index)
    for alike in groups.values():
        own = np.sum([[cost_of(part) for part in branches[index]] for index in alike], axis=0)
        total += jnp.asarray(own, jnp.float32) @ jnp.asarray(supernet.mixture_of(alike[0], mixtures).branches)
    return total
