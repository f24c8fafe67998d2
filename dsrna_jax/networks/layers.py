"""The building blocks of a cell, on stacks of edges.

Maps are [..., channel, batch, height, width]: a pointwise convolution is then one matrix product
without a transposition, and a batch norm a mean over contiguous memory. Leading axes stack the edges that are computed together.
Layers keep the type of the maps, while weights, statistics and sums are of float32 or wider (`kernels.mixed_precision`).
Semantics follow DARTS (cnn/operations.py): symmetric padding, ReLU before convolution, no biases, batch norm after.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, overload

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jaxtyping import Array, Float

from dsrna_jax.data_parallel import batch_mean, device_count
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.mixed_precision import wide
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.shifts import shift

Statistics = Literal["batch", "device", "frozen", "running"]
Images = Float[Array, "batch height width colour"]
Map = Float[Array, "_channel batch _height _width"]


def torch_uniform(fan_in: npt.ArrayLike) -> Callable:
    """Torch's default initialisation of convolutions and dense layers: uniform in ±1/sqrt(fan_in)."""

    def init(key, shape):
        return jax.random.uniform(key, shape, minval=-1.0) * np.sqrt(1 / np.asarray(fan_in))

    return init


class BatchNorm(nn.Module):
    """Batch norm over batch, height and width of [..., channel, batch, height, width], by one of four statistics.

    "batch": those of this batch; updates the running ones (collection `batch_stats`, momentum 0.9, unbiased variance as in
    torch) and records them in `moments`, wherever those collections are mutable. "device": likewise, by the examples of this
    device alone (`data_parallel`); the running ones follow the mean over the devices. "frozen": the recorded `moments`, as
    constants, so that examples do not couple and input gradients are those of the examples. "running": `batch_stats`.

    A list of parts of a map along axis 1 is normalised like their concatenation, without concatenating.
    """

    affine: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5

    @overload
    def __call__(self, x: Array, statistics: Statistics) -> Array: ...

    @overload
    def __call__(self, x: list[Array], statistics: Statistics) -> list[Array]: ...

    @nn.compact
    def __call__(self, x, statistics):
        parts, axes = x if isinstance(x, list) else [x], (-3, -2, -1)
        shape, ends = parts[0].shape[:-3], []
        if len(parts) > 1:
            *ends, total = np.cumsum([part.shape[1] for part in parts]).tolist()
            shape = (shape[0], total, *shape[2:])

        def over_all(moment):
            return jnp.concatenate([moment(p) for p in parts], 1) if ends else moment(parts[0])

        running = self.variable("batch_stats", "moments", lambda: jnp.stack([jnp.zeros(shape), jnp.ones(shape)]))
        if statistics == "running":
            mean, variance = running.value
        elif statistics == "frozen":
            mean, variance = lax.stop_gradient(self.get_variable("moments", "batch"))
        else:
            mean = over_all(lambda p: wide(p).mean(axes))
            square = over_all(lambda p: jnp.square(wide(p)).mean(axes))
            count = math.prod(parts[0].shape[-3:])
            if statistics == "batch":
                (mean, square), count = batch_mean((mean, square)), count * device_count()
            variance = jnp.maximum(square - jnp.square(mean), 0)
            if self.is_mutable_collection("moments"):
                self.put_variable("moments", "batch", (mean, variance))
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                unbiased = jnp.stack([mean, variance * (count / max(count - 1, 1))])
                if statistics == "device":
                    unbiased = batch_mean(unbiased)
                running.value = self.momentum * running.value + (1 - self.momentum) * unbiased
        scale = lax.rsqrt(variance + self.epsilon)
        offset = -mean * scale
        if self.affine:
            gain = self.param("scale", nn.initializers.ones, shape)
            scale, offset = scale * gain, offset * gain + shift(self, nn.initializers.zeros, shape)
        scales, offsets = (jnp.split(a, ends, 1) if ends else [a] for a in (scale, offset))
        normal = [
            (wide(p) * a[..., None, None, None] + b[..., None, None, None]).astype(p.dtype)
            for p, a, b in zip(parts, scales, offsets, strict=True)
        ]
        return normal if isinstance(x, list) else normal[0]


def average_pool(
    x: Float[Array, "stack channel batch height width"], window: int, stride: int
) -> Float[Array, "stack channel batch height_out width_out"]:
    """Average pool of [stack, channel, batch, h, w] with an odd window, centred; padding is not counted."""
    taps, reach = square_taps(window), window // 2
    weights = jnp.ones((len(taps), *x.shape[:1], 1, x.shape[1]), x.dtype)
    centres = [np.arange(0, n, stride) for n in x.shape[-2:]]
    rows, columns = (
        np.minimum(at + reach, n - 1) - np.maximum(at - reach, 0) + 1 for at, n in zip(centres, x.shape[-2:], strict=True)
    )
    return depthwise(x, weights, taps, stride=stride)[:, 0] / jnp.expand_dims(np.outer(rows, columns).astype(x.dtype), (0, 1, 2))


def shifted(
    x: Float[Array, "*stack channel batch height width"], offsets: Sequence[tuple[int, int]], strides: tuple[int, int]
) -> Float[Array, "*stack channel_out batch height_out width_out"]:
    """The map shifted by each of the (row, column) offsets, in pixels, concatenated along the channels; zeros outside.

    [..., c, b, h, w] -> [..., offsets * c, b, ceil(h / stride), ceil(w / stride)]: a convolution is `pointwise` of that.
    """
    margins = [max(abs(o) for o in axis) for axis in zip(*offsets, strict=True)]
    last = [stride * (-(-n // stride) - 1) + 1 for n, stride in zip(x.shape[-2:], strides, strict=True)]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(m, m) for m in margins])
    starts = [[m + o for m, o in zip(margins, offset, strict=True)] for offset in offsets]
    parts = [x[..., i : i + last[0] : strides[0], j : j + last[1] : strides[1]] for i, j in starts]
    return jnp.concatenate(parts, axis=-4)


class Preprocess(nn.Module):
    """ReLU, 1×1 convolution, batch norm: brings a cell's input [channel, batch, h, w] to the cell's channels."""

    channels: int
    affine: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "channel_in batch height width"], statistics: Statistics
    ) -> Float[Array, "channel batch height width"]:
        kernel = self.param("kernel", torch_uniform(x.shape[0]), (self.channels, x.shape[0]))
        return BatchNorm(self.affine)(pointwise(nn.relu(x), kernel), statistics)


class FactorizedReduce(nn.Module):
    """Halves [..., channel, batch, h, w] by two 1×1 convolutions of stride 2 on grids one pixel apart, `edges` times.

    An odd side is padded by a zero row, which torch's version refuses; even sides are the same as there.
    """

    channels: int
    affine: bool
    edges: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "*stack channel batch height width"], statistics: Statistics
    ) -> Float[Array, "*stack edge channel_out batch height_out width_out"]:
        """[*stack, c, b, h, w] -> [*stack, edges, channels, b, ceil(h / 2), ceil(w / 2)]."""
        stack, c = x.shape[:-4], x.shape[-4]
        x = nn.relu(x)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, n % 2) for n in x.shape[-2:]])
        parts = []
        # The even grid ends before the last pixel, which it does not take: on [::2] in front of a product XLA's GPU compiler
        # aborts, with JAX 0.10 and 0.11 (openxla/xla#47381).
        for name, grid, width in (
            ("even", x[..., :-1:2, :-1:2], self.channels // 2),
            ("odd", x[..., 1::2, 1::2], self.channels - self.channels // 2),
        ):
            kernel = self.param(name, torch_uniform(c), (*stack, self.edges, width, c))
            part = pointwise(grid, kernel.reshape(*stack, -1, c))
            parts.append(part.reshape(*stack, self.edges, width, *part.shape[-3:]))
        return BatchNorm(self.affine)(jnp.concatenate(parts, axis=-4), statistics)


class Crossed(nn.Module):
    """ReLU, full 1×side convolution, full side×1 convolution, batch norm: conv_7x1_1x7 of AmoebaNet, conv_3x1_1x3 of SETN."""

    side: int
    stride: int
    affine: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "stack channel batch height width"], statistics: Statistics
    ) -> Float[Array, "stack channel batch height_out width_out"]:
        """[stack, c, b, h, w] -> [stack, c, b, ceil(h / stride), ceil(w / stride)]."""
        stack, c = x.shape[:2]
        x = nn.relu(x)
        reach = range(-(self.side // 2), self.side // 2 + 1)
        lines = {
            "row": ([(0, column) for column in reach], (1, self.stride)),
            "column": ([(r, 0) for r in reach], (self.stride, 1)),
        }
        for name, (offsets, strides) in lines.items():
            kernel = self.param(name, torch_uniform(self.side * c), (stack, c, self.side * c))
            x = pointwise(shifted(x, offsets, strides), kernel)
        return BatchNorm(self.affine)(x, statistics)
