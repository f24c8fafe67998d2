"""Multiply-adds of a derived network, and those expected of a supernet, from their descriptions alone."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.families import family_of
from dsrna_jax.networks.network import Mixture, Network
from dsrna_jax.networks.parts import cost, expected_cost, parts
from dsrna_jax.networks.path import Path, PathNetwork
from dsrna_jax.networks.plan import Part
from dsrna_jax.networks.stem import STEMS


def multiply_adds(network: Network, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of all convolutions and of the last layer for one image, as the field counts them: no norms, pools or sums.

    The auxiliary head, used in training only, does not count.
    """
    return int(cost(network, image_shape, of_part))


def expected_multiply_adds(
    supernet: Network, image_shape: tuple[int, int, int], mixtures: Mapping[str, Mixture]
) -> Float[Array, ""]:
    """Multiply-adds of a supernet for one image, each operation times its weight in the mixture of its edge (`expected_cost`)."""
    return expected_cost(supernet, image_shape, mixtures, of_part)


def path_multiply_adds(network: PathNetwork, image_shape: tuple[int, int, int], path: Path) -> Float[Array, ""]:
    """Multiply-adds of a path for one image, as in a derived network; a path [cell, step] may be traced."""
    every, count = parts(network, image_shape), len(network.operations)
    branches = np.array([list(map(of_part, row)) for row in every.branches])
    table = np.pad(branches.reshape(network.cells, -1, count), [(0, 0), (0, 0), (0, 1)])  # the last for `none`
    operations = jnp.where((path.operations < 0) | (path.operations > count), count, path.operations)
    steps = jnp.asarray(table, jnp.float32)[jnp.arange(network.cells)[:, None], path.edges, operations]
    return sum(map(of_part, every.fixed)) + steps.sum()


def of_part(part: Part) -> int:
    """Multiply-adds of a part of a network for one image."""
    size, half = ((-(-part.height // n), -(-part.width // n)) for n in (1, 2))
    entering, leaving = part.entering, part.leaving
    if part.name in OPERATIONS:
        operation, output = OPERATIONS[part.name], half if part.stride == 2 else size
        return family_of(part.name).multiply_adds(operation, entering, leaving, size, output, part.stride)
    if part.name == "head":
        return entering * leaving
    pixels = lambda scale: -(-part.height // scale) * -(-part.width // scale)  # noqa: E731
    if part.name in ("preprocess", "factorized_reduce"):
        return entering * leaving * pixels(part.stride)
    return STEMS[part.name.removeprefix("stem_")].multiply_adds(entering, leaving, pixels)
