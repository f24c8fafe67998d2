"""The building blocks of a cell, on stacks of edges.

Maps are held channel by channel, [..., channel, batch, height, width]: a pointwise convolution is then one matrix product
without a transposition, and a batch norm a mean over contiguous memory. Leading axes stack the edges that are computed together.
Semantics follow DARTS (cnn/operations.py): symmetric padding, ReLU before convolution, no biases, batch norm after.
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Statistics = Literal["batch", "frozen", "running"]


def torch_uniform(fan_in: int):
    """Torch's default initialisation of convolutions and dense layers: uniform in ±1/sqrt(fan_in)."""

    def init(key, shape):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    return init


class BatchNorm(nn.Module):
    """Batch norm over batch, height and width of [..., channel, batch, height, width], by one of three statistics.

    "batch": those of this batch; updates the running ones (collection `batch_stats`, momentum 0.9, unbiased variance as in
    torch) and records them in `moments`, wherever those collections are mutable. "frozen": the recorded `moments`, as
    constants, so that examples do not couple and input gradients are those of the examples. "running": `batch_stats`.
    """

    affine: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, statistics: Statistics):
        shape, axes = x.shape[:-3], (-3, -2, -1)
        running = self.variable("batch_stats", "moments", lambda: jnp.stack([jnp.zeros(shape), jnp.ones(shape)]))
        if statistics == "running":
            mean, variance = running.value
        elif statistics == "frozen":
            mean, variance = lax.stop_gradient(self.get_variable("moments", "batch"))
        else:
            mean = x.mean(axes)
            variance = jnp.maximum(jnp.square(x).mean(axes) - jnp.square(mean), 0)
            if self.is_mutable_collection("moments"):
                self.put_variable("moments", "batch", (mean, variance))
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                count = math.prod(x.shape[-3:])
                unbiased = jnp.stack([mean, variance * (count / max(count - 1, 1))])
                running.value = self.momentum * running.value + (1 - self.momentum) * unbiased
        scale = lax.rsqrt(variance + self.epsilon)
        shift = -mean * scale
        if self.affine:
            gain = self.param("scale", nn.initializers.ones, shape)
            scale, shift = scale * gain, shift * gain + self.param("bias", nn.initializers.zeros, shape)
        return x * scale[..., None, None, None] + shift[..., None, None, None]


def pointwise(x, kernel):
    """1×1 convolution of each map of a stack: [..., channel, batch, h, w] by [..., channel out, channel]."""
    return jnp.einsum("...cbhw,...dc->...dbhw", x, kernel)


def max_pool(x, window: int, stride: int, padding: int = 0):
    """Max pool of the last two axes, padded by -inf on the near side and on the far side to ceil(size / stride)."""
    return _pooled(x, -jnp.inf, lax.max, window, stride, padding)


def average_pool(x, window: int, stride: int, padding: int = 0):
    """Average pool of the last two axes; padding is not counted (`count_include_pad=False`)."""
    ones = jnp.ones(x.shape[-2:], x.dtype)
    return _pooled(x, 0.0, lax.add, window, stride, padding) / _pooled(ones, 0.0, lax.add, window, stride, padding)


def _pooled(x, empty, combine, window, stride, padding):
    outer = x.ndim - 2
    far = [(-(-n // stride) - 1) * stride + window - n - padding for n in x.shape[-2:]]
    return lax.reduce_window(
        x,
        np.asarray(empty, x.dtype),
        combine,
        (1,) * outer + (window, window),
        (1,) * outer + (stride, stride),
        [(0, 0)] * outer + [(padding, f) for f in far],
    )


class Preprocess(nn.Module):
    """ReLU, 1×1 convolution, batch norm: brings a cell's input [channel, batch, h, w] to the cell's channels."""

    channels: int
    affine: bool

    @nn.compact
    def __call__(self, x, statistics: Statistics):
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
    def __call__(self, x, statistics: Statistics):
        """[*stack, c, b, h, w] -> [*stack, edges, channels, b, ceil(h / 2), ceil(w / 2)]."""
        stack, c = x.shape[:-4], x.shape[-4]
        x = nn.relu(x)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, n % 2) for n in x.shape[-2:]])
        parts = []
        for name, grid, width in (
            ("even", x[..., ::2, ::2], self.channels // 2),
            ("odd", x[..., 1::2, 1::2], self.channels - self.channels // 2),
        ):
            kernel = self.param(name, torch_uniform(c), (*stack, self.edges, width, c))
            parts.append(jnp.einsum("...cbhw,...edc->...edbhw", grid, kernel))
        return BatchNorm(self.affine)(jnp.concatenate(parts, axis=-4), statistics)
