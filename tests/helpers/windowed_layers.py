"""Layers of every kind on maps, most of whose outputs depend on a window of the input, and networks of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise


def normal(rng, *shape):
    return jnp.asarray(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))


def conv(x, kernel, stride=1, padding=(0, 0), **options):
    strides = (stride, stride) if isinstance(stride, int) else stride
    return lax.conv_general_dilated(x, kernel, strides, [padding, padding], **options)


def pool(x, reduce, init, size, stride, padding):
    return lax.reduce_window(x, init, reduce, (1, 1, size, size), (1, 1, stride, stride), ((0, 0), (0, 0), padding, padding))


# Each maps (rng, x [b, c, h, w]) to a function of x with 4 axes in this order; the channels are even.


def plain_convolution(rng, x):
    stride, padding, side = (1, 2)[rng.integers(2)], ((1, 1), (0, 2), (0, 0))[rng.integers(3)], rng.integers(1, 4)
    kernel = normal(rng, 4, x.shape[1], side, side)
    return lambda x: conv(x, kernel, int(stride), padding)


def dilated_convolution(rng, x):
    kernel = normal(rng, 4, x.shape[1], 2, 3)
    return lambda x: conv(x, kernel, (1, 2), (2, 1), rhs_dilation=(2, 1))


def grouped_convolution(rng, x):
    kernel = normal(rng, 4, x.shape[1] // 2, 3, 3)
    return lambda x: conv(x, kernel, 1, (1, 1), feature_group_count=2)


def depthwise_convolution(rng, x):
    kernel, stride = normal(rng, 2 * x.shape[1], 1, 3, 3), int(rng.integers(1, 3))
    return lambda x: conv(x, kernel, stride, (1, 1), feature_group_count=x.shape[1])


def last_channel_convolution(rng, x):
    kernel = normal(rng, 3, 3, x.shape[1], 4)

    def f(x):
        y = lax.conv_general_dilated(
            jnp.transpose(x, (0, 2, 3, 1)), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.transpose(y, (0, 3, 1, 2))

    return f


def transposed_convolution(rng, x):
    kernel = normal(rng, 2, x.shape[1], 3, 3)
    return lambda x: conv(x, kernel, 1, (1, 1), lhs_dilation=(2, 1))


def own_separable_convolution(rng, x):
    taps, stride = square_taps(3, 2), int(rng.integers(1, 3))
    kernel, mix = normal(rng, len(taps), 1, 1, x.shape[1]), normal(rng, 4, x.shape[1])

    def f(x):
        maps = jnp.transpose(x, (1, 0, 2, 3))
        return jnp.transpose(pointwise(depthwise(maps[None], kernel, taps, stride=stride)[0, 0], mix), (1, 0, 2, 3))

    return f


def average_pool(rng, x):
    def f(x):
        ones = jnp.ones((1, 1, *x.shape[2:]), x.dtype)
        return pool(x, lax.add, 0.0, 3, 2, (1, 1)) / pool(ones, lax.add, 0.0, 3, 2, (1, 1))

    return f


def max_pool(rng, x):
    stride = int(rng.integers(1, 3))
    return lambda x: pool(x, lax.max, -jnp.inf, 3, stride, (1, 1))


def batch_norm(rng, x):
    scale, shift = normal(rng, x.shape[1]), normal(rng, x.shape[1])
    return lambda x: x * scale[None, :, None, None] + shift[None, :, None, None]


def entry_scales(rng, x):
    scale = normal(rng, *x.shape[1:])
    return lambda x: (1 - x * scale[None]) / (2 + scale**2)[None]


def residual(rng, x):
    kernel = normal(rng, x.shape[1], x.shape[1], 3, 3)
    return lambda x: x + jax.nn.relu(conv(x, kernel, 1, (1, 1)))


def concatenation(rng, x):
    kernel = normal(rng, 2, x.shape[1], 3, 3)
    return lambda x: jnp.concatenate([x[:, ::-1], conv(x, kernel, 1, (1, 1)), 2 * x[:, :1] - x[:, 1:2]], 1)[:, :4]


def borders_and_cuts(rng, x):
    def f(x):
        wide = jnp.pad(x, ((0, 0), (0, 0), (2, 0), (1, 3)))[:, :, :-1:2, 1:]
        return jnp.concatenate([wide, wide[:, :, :2]], 2)

    return f


def shuffled_channels(rng, x):
    def f(x):
        b, c, h, w = x.shape
        parts = jnp.unstack(x.reshape(b, 2, c // 2, h, w), axis=1)
        return jnp.stack(parts[::-1], 2).reshape(x.shape)

    return f


def gate(rng, x):
    w = normal(rng, x.shape[1], x.shape[1])

    def f(x):
        return x * jax.nn.sigmoid(x.mean((2, 3)) @ w)[:, :, None, None]

    return f


def masked(rng, x):
    mask = jnp.asarray(rng.integers(0, 2, x.shape[2:]), bool)
    return lambda x: jnp.where(mask[None, None], x, -x.mean(1, keepdims=True))


def dense_over_channels(rng, x):
    w = normal(rng, 4, x.shape[1])
    return lambda x: jnp.einsum("bchw,dc->bdhw", x, w)


def smooth(rng, x):
    return jnp.tanh


def rectified(rng, x):
    return jax.nn.relu


LAYERS = (
    plain_convolution, dilated_convolution, grouped_convolution, depthwise_convolution, last_channel_convolution,
    transposed_convolution, own_separable_convolution, average_pool, max_pool, batch_norm, entry_scales, residual, concatenation,
    borders_and_cuts, shuffled_channels, gate, masked, dense_over_channels, smooth,
)  # fmt: skip
KEEP_WINDOWS = set(LAYERS) - {transposed_convolution, gate, borders_and_cuts}


def network(layers, x, seed):
    rng, parts, value = np.random.default_rng(seed), [], x
    for layer in layers:
        parts.append(layer(rng, value))
        value = jax.eval_shape(parts[-1], value)

    def f(x):
        for part in parts:
            x = part(x)
        return x

    return f
