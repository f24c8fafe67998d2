"""Max pools, average pools and depthwise-separable convolutions of all branches of a fan.

They are built together because a supernet normalises its pools (DARTS), and one batch norm serves pools and convolutions alike.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import numpy as np

from dsrna_jax.genotypes.operations import OPERATIONS, Operation
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.kernels.max_pool import max_pool
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.layers import BatchNorm, Statistics, average_pool, torch_uniform
from dsrna_jax.networks.maps import Kind, Maps, joined, split

_POOLS = {
    "max_pool": lambda x, side, stride: max_pool(x, side, stride, side // 2),
    "average_pool": average_pool,
}


def windowed(fan: nn.Module, x, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """Outputs of the branches `kinds`, from the maps x [stack, channel, batch, height, width] of the nodes that they leave.

    One max pool, one average pool and one ReLU serve them all; the weights of their convolutions are stacked.
    """
    kinds = sorted(kinds)
    twice, once = ([k for k in kinds if _repeats(k) == repeats] for repeats in (2, 1))
    pooled = _pooled(x, [k for k in kinds if not _repeats(k)], fan.stride)
    first = []
    if twice or once:
        groups = _groups(fan, twice + once)
        first = _convolution(fan, [nn.relu(x)[:, None]] * len(groups), groups, "first", fan.stride)
    if fan.is_supernet:
        return _normalised(fan, first + pooled, len(twice), statistics)
    return pooled + _normalised(fan, first, len(twice), statistics)


def multiply_adds(
    operation: Operation, entering: int, leaving: int, size: tuple[int, int], output_size: tuple[int, int], stride: int
) -> int:
    """Multiply-adds of depthwise-separable convolutions to maps of `output_size` pixels."""
    return operation.repeats * (operation.side**2 * entering + entering * leaving) * math.prod(output_size)


def _repeats(kind: Kind) -> int:
    """Number of convolutions in a row; 0 for a pool."""
    operation = OPERATIONS[kind.primitive]
    return operation.repeats if operation.family == "depthwise" else 0


def _pooled(x, kinds: Sequence[Kind], stride: int) -> list[Maps]:
    """One map for each kind of pool, whatever number of branches it serves."""
    pools = []
    for primitive in dict.fromkeys(kind.primitive for kind in kinds):
        operation = OPERATIONS[primitive]
        values = _POOLS[operation.family](x, operation.side, stride)[:, None]
        pools.append(Maps(values, (tuple(k for k in kinds if k.primitive == primitive),)))
    return pools


def _normalised(fan, parts: list[Maps], twice: int, statistics) -> list[Maps]:
    """Batch norm of all maps, and for the first `twice` of them a second convolution and batch norm."""
    if not parts:
        return []
    parts = _norm(fan, [joined(parts)] if fan.is_supernet else parts, "first_norm", statistics)
    if not twice:
        return parts
    parts = split(parts[0], twice) if fan.is_supernet else parts
    again = [part for part in parts if _repeats(part.served[0][0]) == 2]
    groups = [[kind for (kind,) in part.served] for part in again]
    second = _convolution(fan, [nn.relu(part.values) for part in again], groups, "second", 1)
    return _norm(fan, second, "second_norm", statistics) + parts[len(again) :]


def _norm(fan, parts: list[Maps], name: str, statistics) -> list[Maps]:
    normal = BatchNorm(fan.affine, name=name)([part.values for part in parts], statistics)
    return [part._replace(values=values) for part, values in zip(parts, normal, strict=True)]


def _groups(fan, kinds: Sequence[Kind]) -> list[list[Kind]]:
    """The branches, in their order, whose depthwise convolutions go together.

    In a supernet all together, for compile time; else those of one primitive, which computes no zero taps.
    """
    if fan.is_supernet:
        return [list(kinds)]
    return [[k for k in kinds if k.primitive == primitive] for primitive in dict.fromkeys(k.primitive for k in kinds)]


def _convolution(fan, images, groups: list[list[Kind]], name: str, stride: int) -> list[Maps]:
    """Depthwise and pointwise convolution for every group of branches.

    images: for each group [stack, 1 or branch, channel, ...], one map for all of its branches or one each.
    """
    stack, c = images[0].shape[0], images[0].shape[2]
    operations = [OPERATIONS[kind.primitive] for group in groups for kind in group]
    own = [square_taps(operation.side, operation.dilation) for operation in operations]
    starts = np.cumsum([0, *map(len, own)])
    fan_in = np.repeat([len(taps) for taps in own], [len(taps) for taps in own])[:, None, None]
    depthwise_kernel = fan.param(f"{name}_depthwise", torch_uniform(fan_in), (starts[-1], stack, c))
    pointwise_kernel = fan.param(f"{name}_pointwise", torch_uniform(c), (stack, len(own), c, c))
    convolved, first = [], 0
    for x, group in zip(images, groups, strict=True):
        branches = range(first, first + len(group))
        first += len(group)
        taps = sorted(set().union(*(own[i] for i in branches)))
        index = np.full((len(taps), len(group)), -1)  # row of a tap in the stacked kernels, where a branch has the tap
        for column, i in enumerate(branches):
            for row, tap in enumerate(own[i], starts[i]):
                index[taps.index(tap), column] = row
        kernel = gather_rows(depthwise_kernel, index).swapaxes(1, 2)  # [tap, stack, branch, channel]
        support = [np.flatnonzero(rows >= 0).tolist() for rows in index.T]
        if x.shape[1] == 1:
            y = depthwise(x[:, 0], kernel, taps, stride=stride, support=support)
        else:
            kernel, support = kernel.reshape(len(taps), -1, 1, c), support * stack
            y = depthwise(x.reshape(-1, *x.shape[2:]), kernel, taps, stride=stride, support=support)
        y = y.reshape(stack, len(group), *y.shape[2:])
        y = pointwise(y, pointwise_kernel[:, branches.start : branches.stop])
        convolved.append(Maps(y, tuple((kind,) for kind in group)))
    return convolved
