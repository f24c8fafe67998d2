"""The operations of paths: each on one map, with weights that have a leading axis for the edge."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from dsrna_jax.genotypes.operations import Operation
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.layers import Map, average_pool

Variable = Callable[[str, int, tuple[int, ...]], Any]
Norm = Callable[[Map], Map]


def _none(operation: Operation, channels: int, reduces: bool, variable: Variable) -> dict[str, Any]:
    return {}


class PathOperation(NamedTuple):
    """The code of a family of operations in networks of paths (`networks.path`).

    output: (operation, x, weights, stride, norm) -> the map that leaves x [channel, batch, height, width], by the weights of one
      edge. `norm` is a batch norm of its own at each call, of which there are at most two.
    weights: (operation, channels, reduces, variable) -> the variables of all edges, by name; `reduces` says whether the cell has
      edges of stride 2, and `variable(name, fan_in, shape)` makes a variable.
    """

    output: Callable[[Operation, Map, Mapping[str, Array], int, Norm], Map]
    weights: Callable[[Operation, int, bool, Variable], dict[str, Any]] = _none


def max_pooled(operation: Operation, x: Map, weights: Mapping[str, Array], stride: int, norm: Norm) -> Map:
    """A max pool, normalised."""
    return norm(max_pool(x, operation.side, stride, operation.side // 2))


def average_pooled(operation: Operation, x: Map, weights: Mapping[str, Array], stride: int, norm: Norm) -> Map:
    """An average pool, normalised."""
    return norm(average_pool(x[None], operation.side, stride)[0])


def separable(operation: Operation, x: Map, weights: Mapping[str, Array], stride: int, norm: Norm) -> Map:
    """Depthwise-separable convolutions, each after a ReLU and before a batch norm."""
    for number in range(operation.repeats):
        taps = square_taps(operation.side, operation.dilation if number == 0 else 1)
        kernel = weights[f"depthwise_{number}"][:, None, None]
        y = depthwise(nn.relu(x)[None], kernel, taps, stride=stride if number == 0 else 1)[0, 0]
        x = norm(pointwise(y, weights[f"pointwise_{number}"]))
    return x


def separable_weights(operation: Operation, channels: int, reduces: bool, variable: Variable) -> dict[str, Any]:
    """The kernels of `separable`."""
    taps = operation.side**2
    return {
        f"{kind}_{number}": variable(f"{kind}_{number}", fan_in, shape)
        for number in range(operation.repeats)
        for kind, fan_in, shape in (("depthwise", taps, (taps, channels)), ("pointwise", channels, (channels, channels)))
    }


def skipped(operation: Operation, x: Map, weights: Mapping[str, Array], stride: int, norm: Norm) -> Map:
    """The map itself; with stride 2 a factorized reduction."""
    if stride == 1:
        return x
    x = nn.relu(x)
    x = jnp.pad(x, [(0, 0), (0, 0), *((0, n % 2) for n in x.shape[-2:])])
    parts = ((x[..., :-1:2, :-1:2], weights["even"]), (x[..., 1::2, 1::2], weights["odd"]))
    return norm(jnp.concatenate([pointwise(grid, kernel) for grid, kernel in parts]))


def skipped_weights(operation: Operation, channels: int, reduces: bool, variable: Variable) -> dict[str, Any]:
    """The kernels of the factorized reductions of `skipped`."""
    if not reduces:
        return {}
    half = channels // 2
    return {
        "even": variable("even", channels, (half, channels)),
        "odd": variable("odd", channels, (channels - half, channels)),
    }
