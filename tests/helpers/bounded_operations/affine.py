"""Operations that are affine, most of them, and those that move entries."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded_operations.drawing import IMAGE, VECTOR, beside, like, operation
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise


@operation(VECTOR)
def dense(draw):
    w, b = draw.normal(6, draw.integer(1, 7)), draw.number(-1, 1)
    return lambda x: x @ like(x, w) + b


@operation(IMAGE)
def convolution(draw):
    groups = draw.one(1, 2)
    features = groups * draw.integer(1, 2)
    window = (draw.integer(1, 3), draw.integer(1, 3))
    w = draw.normal(*window, 2 // groups, features)
    strides, dilation, base = [(draw.one(1, 1, 2), draw.one(1, 1, 2)) for _ in range(3)]
    padding = draw.one("SAME", "VALID", [(draw.integer(0, 2), draw.integer(0, 2)) for _ in range(2)], [(2, 1), (-1, 2)])
    if padding == "VALID" and (window[0] - 1) * dilation[0] + 1 > 5 or (window[1] - 1) * dilation[1] + 1 > 4:
        padding = "SAME"
    if base != (1, 1) and isinstance(padding, str):
        padding = [(1, 2), (2, 0)]

    def function(x):
        return lax.conv_general_dilated(
            x, like(x, w), strides, padding, base, dilation, ("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    return function


@operation(IMAGE)
def depthwise_primitive(draw):
    stride, taps = draw.one(1, 2), square_taps(3, draw.one(1, 2))
    w = draw.normal(9, 1, 2, 2)

    def function(x):
        y = depthwise(x.transpose(3, 0, 1, 2)[None], like(x, w), taps, stride=stride)
        return y.reshape(4, *y.shape[3:]).transpose(1, 2, 3, 0)

    return function


@operation(IMAGE)
def pointwise_primitive(draw):
    w = draw.normal(3, 2)
    return lambda x: pointwise(x.transpose(3, 0, 1, 2), like(x, w)).transpose(1, 2, 3, 0)


@operation(IMAGE)
def batch_norm(draw):
    mean, variance, scale, bias = (draw.generator.uniform(-1, 2, 2) for _ in range(4))
    return lambda x: (x - beside(x, mean)) * (beside(x, scale) * lax.rsqrt(jnp.abs(beside(x, variance)) + 1e-5)) + beside(x, bias)


@operation(VECTOR)
def layer_norm_fixed(draw):
    mean, variance, scale = draw.normal(1), draw.number(0.5, 2), draw.normal(6)
    return lambda x: (x - beside(x, mean)) / jnp.sqrt(variance) * beside(x, scale) + 0.3


@operation(IMAGE)
def average_pool(draw):
    window, strides = ((draw.integer(1, 3), draw.integer(1, 3)) for _ in range(2))
    padding = draw.one("SAME", "VALID", ((1, 0), (0, 1)))
    counting = draw.one(True, False)

    def function(x):
        import flax.linen as nn

        return nn.avg_pool(x, window, strides, padding, count_include_pad=counting)

    return function


@operation(IMAGE)
def window_sum(draw):
    window, strides = (1, 2, draw.integer(1, 3), 1), (1, draw.integer(1, 2), 1, 1)
    padding, base, dilation = (
        [(0, 0), (draw.integer(0, 2), 1), (1, 1), (0, 0)],
        (1, 1, draw.one(1, 2), 1),
        (1, draw.one(1, 2), 1, 1),
    )
    return lambda x: lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, strides, padding, base, dilation)


@operation(IMAGE)
def global_pool(draw):
    axes = draw.one((1, 2), (1,), (-1,), (2, 3))
    keep = draw.one(True, False)
    return lambda x: x.mean(axes, keepdims=keep)


@operation(VECTOR)
def add_constants(draw):
    a, b = draw.normal(6), draw.number(-1, 1)
    return draw.one(
        lambda x: beside(x, a) - x, lambda x: x - b, lambda x: b - x, lambda x: x + x[:, ::-1], lambda x: x - 0.5 * x[:, ::-1]
    )


@operation(IMAGE)
def concatenation(draw):
    axis, c = draw.one(1, 2, 3), draw.normal(5, 4, 2)

    def function(x):
        constant = jnp.broadcast_to(like(x, c), x.shape)
        return jnp.concatenate(draw_parts(x, constant), axis)

    draw_parts = draw.one(lambda x, c: [x, 2 * x], lambda x, c: [c, x], lambda x, c: [x, c, x])
    return function


@operation(IMAGE)
def padding(draw):
    borders = [(0, 0, 0)] + [(draw.integer(-1, 2), draw.integer(-1, 2), draw.integer(0, 2)) for _ in range(3)]
    value = draw.number(-2, 2)
    return lambda x: lax.pad(x, np.asarray(value, x.dtype), borders)


@operation(IMAGE)
def slicing(draw):
    row, step = draw.integer(0, 2), draw.integer(1, 2)
    return draw.one(
        lambda x: x[:, row:, ::step],
        lambda x: x[:, row],
        lambda x: x[..., -1],
        lambda x: x[:, ::-step, :, 0],
        lambda x: x[:, None, row : row + 2, ..., :1],
    )


@operation(IMAGE)
def moving(draw):
    shift = draw.integer(-3, 3)
    return draw.one(
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.reshape(x.shape[0], 4, 5, 2),
        lambda x: x.transpose(0, 3, 2, 1),
        lambda x: jnp.roll(x, shift, 2),
        lambda x: jnp.flip(x, (1, 3)),
        lambda x: jnp.rot90(x, 1, (1, 2)),
        lambda x: jnp.swapaxes(x.transpose(1, 0, 2, 3), 0, 1),
        lambda x: jnp.squeeze(x[:, :1], 1),
        lambda x: jnp.tile(x, (1, 1, 2, 1)),
        lambda x: jnp.repeat(x, 2, axis=2),
        lambda x: jnp.roll(x, (1, shift), (1, 3)),
    )


@operation(VECTOR)
def indexing(draw):
    places = draw.generator.integers(0, 6, draw.integer(1, 8))
    start = draw.integer(0, 8)
    return draw.one(
        lambda x: x[:, places],
        lambda x: jnp.take(x, places, axis=1, mode="clip"),
        lambda x: lax.dynamic_slice_in_dim(x, start, 3, 1),
        lambda x: jnp.take_along_axis(x, jnp.broadcast_to(places, (x.shape[0], len(places))), 1),
        lambda x: x.at[:, 1].set(0.5),
        lambda x: x.at[:, jnp.asarray([0, 0, 3])].add(1.0),
        lambda x: lax.dynamic_update_slice_in_dim(x, 2 * x[:, :2], start, 1),
        lambda x: lax.dynamic_index_in_dim(x, start % 6, 1),
        lambda x: jnp.zeros((x.shape[0], 9), x.dtype).at[:, 2:8].set(x),
        lambda x: (
            jnp.zeros((x.shape[0], 9), x.dtype).at[:, places].add(x[:, : len(places)] if len(places) <= 6 else x[:, places])
        ),
    )


@operation((3, 4))
def einsum(draw):
    a, b, c = draw.normal(4, 5), draw.normal(3, 4), draw.normal(2, 3)
    return draw.one(
        lambda x: jnp.einsum("bij,jk->bik", x, like(x, a)),
        lambda x: jnp.einsum("bij,ij->bj", x, like(x, b)),
        lambda x: jnp.einsum("ki,bij->bkj", like(x, c), x),
        lambda x: jnp.einsum("bij,ij->b", x, like(x, b))[:, None],
        lambda x: jnp.einsum("ki,bij,jl->kbl", like(x, c), x, like(x, a)).transpose(1, 0, 2),
        lambda x: jnp.einsum("bij->bji", x),
        lambda x: jnp.tensordot(x, like(x, a), 1),
        lambda x: jnp.vecdot(x, like(x, b)),
    )


@operation(VECTOR)
def mixture(draw):
    alphas, w = draw.normal(3), draw.normal(6, 6)

    def function(x):
        share = jax.nn.softmax(like(x, alphas))
        return share[0] * x + share[1] * (x @ like(x, w)) + share[2] * 0 * x

    return function


@operation(VECTOR)
def constants(draw):
    a, b = draw.normal(6), draw.generator.uniform(0.5, 2, 6) * draw.one(-1, 1)
    return draw.one(
        lambda x: x * beside(x, a),
        lambda x: x / beside(x, b),
        lambda x: -3 * x,
        lambda x: x / 0.7,
        lambda x: beside(x, a) * x * 2,
    )


@operation(VECTOR)
def running_sum(draw):
    reverse = draw.one(True, False)
    return draw.one(
        lambda x: jnp.cumsum(x, 1),
        lambda x: lax.cumsum(x, 1, reverse=True),
        lambda x: lax.cummax(x, 1, reverse),
        lambda x: lax.cummin(x, 1, reverse),
        lambda x: lax.cumprod(x, 1, reverse),
        lambda x: lax.cumlogsumexp(x, 1, reverse),
        lambda x: jnp.prod(x, 1, keepdims=True),
        lambda x: jnp.prod(x.reshape(-1, 2, 3), 1),
    )


@operation(IMAGE)
def splitting(draw):
    return draw.one(
        lambda x: jnp.stack([p * (i + 1) for i, p in enumerate(jnp.split(x, 2, 2))], 1),
        lambda x: jnp.stack(list(jnp.unstack(x, axis=2)), 1),
        lambda x: sum(jnp.split(x, [1, 3], axis=2)[1:2]),
        lambda x: jnp.stack([x[:, 0], x[:, 1] * 2]).sum(0),
    )
