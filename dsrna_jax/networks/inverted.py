"""Inverted bottlenecks (MobileNetV2, arXiv:1801.04381) side by side: all that read one map, computed together."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrna_jax.genotypes.operations import OPERATIONS, Operation
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.layers import BatchNorm, Map, Statistics, torch_uniform
from dsrna_jax.networks.maps import Kind, Maps


class Inverted(nn.Module):
    """Bottlenecks that widen a map by a 1×1 convolution, filter each channel, and project it by another 1×1 convolution.

    A batch norm follows each convolution, and a ReLU the first two; MobileNetV2 has ReLU6, which does not scale with its input as
    bounds of deep networks need it. The widened maps of all operations lie one after the other.

    operations: their names.
    channels: of the output.
    """

    operations: tuple[str, ...]
    channels: int
    stride: int
    affine: bool

    @nn.compact
    def __call__(self, x: Map, statistics: Statistics) -> Float[Array, "operation channel batch height_out width_out"]:
        """The outputs of all operations."""
        records = [OPERATIONS[name] for name in self.operations]
        widths, entering = [record.expansion * len(x) for record in records], len(x)
        y = pointwise(x, self.param("widen", torch_uniform(entering), (sum(widths), entering)))
        y = nn.relu(BatchNorm(self.affine, name="widen_norm")(y, statistics))
        sides = [(side, sum(w for _, w in of)) for side, of in groupby(zip(records, widths, strict=True), lambda p: p[0].side)]
        filtered, parts = [], jnp.split(y, np.cumsum([width for _, width in sides])[:-1].tolist())
        for number, (part, (side, width)) in enumerate(zip(parts, sides, strict=True)):
            kernel = self.param(f"filter_{number}", torch_uniform(side**2), (side**2, width))
            filtered.append(depthwise(part[None], kernel[:, None, None], square_taps(side), stride=self.stride)[0, 0])
        y = jnp.concatenate(filtered) if len(filtered) > 1 else filtered[0]
        y = nn.relu(BatchNorm(self.affine, name="filter_norm")(y, statistics))
        projected = []
        for number, (part, width) in enumerate(zip(jnp.split(y, np.cumsum(widths)[:-1].tolist()), widths, strict=True)):
            projected.append(pointwise(part, self.param(f"project_{number}", torch_uniform(width), (self.channels, width))))
        return BatchNorm(self.affine, name="project_norm")(jnp.stack(projected), statistics)


def inverted(fan: Any, x: jax.Array, kinds: Sequence[Kind], statistics: Statistics) -> list[Maps]:
    """Bottlenecks on the edges of a cell, as the code of a family (`families.Family`)."""
    names, channels = tuple(kind.primitive for kind in kinds), x.shape[1]
    stacks = [
        Inverted(names, channels, fan.stride, fan.affine, name=f"inverted_{number}")(part, statistics)
        for number, part in enumerate(jnp.unstack(x))
    ]
    return [Maps(jnp.stack(stacks), tuple((kind,) for kind in kinds))]


def multiply_adds(
    operation: Operation, entering: int, leaving: int, size: tuple[int, int], output_size: tuple[int, int], stride: int
) -> int:
    """Multiply-adds of a bottleneck."""
    width = operation.expansion * entering
    return width * (entering * math.prod(size) + (operation.side**2 + leaving) * math.prod(output_size))
