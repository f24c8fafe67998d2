"""Operations with random attributes for tests of the bounds, and an attack on the extremes of a function's outputs.

`OPERATIONS[name](draw)` is an operation and the shape of one example of its input: a function of [batch, *shape] whose constants
follow the precision of what it is given. `POSITIVE` ones need values above zero.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise

OPERATIONS, POSITIVE = {}, set()
IMAGE, VECTOR = (5, 4, 2), (6,)


class Draw:
    """Random attributes and constants."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.generator.integers(low, high + 1))

    def one(self, *choices):
        return choices[self.integer(0, len(choices) - 1)]

    def normal(self, *shape):
        return self.generator.normal(size=shape) / np.sqrt(
            max(shape[0] if len(shape) == 2 else np.prod(shape[:-1], initial=1), 1)
        )

    def number(self, low, high):
        return float(self.generator.uniform(low, high))


def operation(shape, positive=False):
    def add(make):
        name = make.__name__.strip("_")
        OPERATIONS[name] = lambda draw: (make(draw), shape)
        if positive:
            POSITIVE.add(name)
        return make

    return add


def like(x, constant):
    """A constant in the precision of x."""
    return jnp.asarray(constant, x.dtype)


def beside(x, constant):
    """A constant in the precision of x, with axes of size 1 in front up to the rank of x."""
    return lax.broadcast_to_rank(like(x, constant), x.ndim)


# Affine operations


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


@operation(IMAGE)
def pad_modes(draw):
    mode, rows, columns = (
        draw.one("edge", "mean", "linear_ramp", "reflect", "symmetric", "wrap", "maximum"),
        *((draw.integer(0, 2), draw.integer(0, 2)) for _ in range(2)),
    )
    per_example = lambda i: jnp.pad(i, (rows, columns, (0, 0)), mode=mode)  # noqa: E731
    return draw.one(lambda x: jnp.pad(x, ((0, 0), rows, columns, (0, 0)), mode=mode), jax.vmap(per_example))


@operation(IMAGE)
def pools_from_a_value(draw):
    """reduce_window and reduce whose initial values are JAX arrays, so that JAX does not name the operation."""
    grid = (1, 2, draw.integer(1, 3), 1), (1, draw.integer(1, 2), 1, 1), draw.one("VALID", "SAME")
    start = draw.number(-1, 1)
    pool = lambda x, init, how: lax.reduce_window(x, like(x, init), how, *grid)  # noqa: E731
    return draw.one(
        lambda x: pool(x, 0.0, lax.add),
        lambda x: pool(x, -np.inf, lax.max),
        lambda x: pool(x, start, lax.max),
        lambda x: pool(x, np.inf, lax.min),
        lambda x: lax.reduce_window(x, np.inf, lax.min, *grid),
        lambda x: lax.reduce(x, like(x, start), lax.add, (1,)),
        lambda x: lax.reduce(x, like(x, 1.0), lambda a, b: a * b, (2,)),
    )


@operation(VECTOR)
def writing(draw):
    c, column = draw.normal(1, 2), draw.integer(0, 5)
    places = draw.generator.permutation(6)[:2]
    values = lambda x: draw_values(x)  # noqa: E731
    draw_values = draw.one(lambda x: x[:, 2:4], lambda x: jnp.broadcast_to(like(x, c), x[:, 2:4].shape))
    return draw.one(
        lambda x: x.at[:, column].multiply(-2.0),
        lambda x: x.at[:, places].multiply(values(x)),
        lambda x: x.at[:, places].max(values(x)),
        lambda x: x.at[:, places].min(values(x)),
        lambda x: x.at[:, places].set(values(x)),
        lambda x: x.at[:, column].max(x[:, 0]),
        lambda x: x.at[:, places].subtract(values(x)),
    )


@operation(VECTOR)
def noise(draw):
    """Random numbers drawn inside of f, the same for each example."""
    seed = draw.integer(0, 99)
    key = draw.one(jax.random.key, jax.random.PRNGKey)

    def dropped(x):
        return jnp.where(jax.random.bernoulli(key(seed), 0.5, (1, 6)), 2 * x, 0.0)

    def noisy(x):
        return x * (1 + 0.1 * jax.random.normal(key(seed), (1, 6), jnp.float32).astype(x.dtype))

    return draw.one(dropped, noisy, lambda x: x @ jax.random.normal(key(seed), (6, 4), jnp.float32).astype(x.dtype))


# Control flow


@operation(VECTOR)
def known_control(draw):
    w, stage = draw.normal(6, 6), draw.integer(0, 2)
    branches = [lambda x: x, jax.nn.relu, lambda x: x @ like(x, w)]
    return draw.one(
        lambda x: lax.cond(stage > 1, branches[1], branches[2], x),
        lambda x: lax.switch(stage, branches, x),
        lambda x: lax.map(lambda i: jax.nn.relu(i @ like(x, w)), x),
        lambda x: jax.vmap(lambda i: lax.cond(True, branches[1], branches[2], i))(x),
        lambda x: lax.fori_loop(0, stage, lambda i, h: jax.nn.relu(h) - i, x),
    )


@operation(VECTOR)
def control(draw):
    w = draw.normal(6, 6)

    @jax.custom_jvp
    def ruled(x):
        return jnp.maximum(x, 0) * 2

    ruled.defjvp(lambda p, t: (ruled(*p), t[0]))

    @jax.custom_vjp
    def passed(x):
        return jnp.minimum(x @ like(x, w), 0.1)

    passed.defvjp(lambda x: (passed(x), None), lambda _, g: (g,))
    inner = lambda x: jax.nn.relu(x @ like(x, w)) - x  # noqa: E731
    return draw.one(jax.jit(inner), ruled, passed, jax.checkpoint(inner), jax.checkpoint(jax.jit(ruled)))


@operation(VECTOR)
def scan(draw):
    reverse, length, w = draw.one(True, False), draw.integer(1, 3), draw.normal(3, 6, 6)

    def carried(x):
        def step(h, w):
            h = jax.nn.relu(h @ w)
            return h, h.sum(1)

        h, ys = lax.scan(step, x, like(x, w[:length]), reverse=reverse)
        return jnp.concatenate([h, ys.T], 1)

    def stacked(x):
        h, ys = lax.scan(lambda h, a: (h + a, h * 0.5 + jnp.abs(a)), jnp.ones_like(x[:, 0]), x.T, reverse=reverse)
        return jnp.concatenate([h[:, None], ys.T], 1)

    def looped(x):
        return lax.fori_loop(0, length, lambda i, h: jnp.tanh(h) + i, x)

    return draw.one(carried, stacked, looped)


# Piecewise linear operations


@operation(VECTOR)
def hinge(draw):
    a, c = draw.number(-1, 1), draw.normal(6)
    return draw.one(
        jax.nn.relu,
        lambda x: jax.nn.leaky_relu(x, a),
        lambda x: jnp.clip(x, -abs(a), 0.3),
        jnp.abs,
        lambda x: jnp.maximum(x, beside(x, c)),
        lambda x: jnp.minimum(beside(x, c), x),
        lambda x: jnp.maximum(a, -x),
        jax.nn.relu6,
        jax.nn.hard_tanh,
        lambda x: jnp.where(x > 0, x, 0.0),
        lambda x: jnp.where(x < 0.1, a * x + 0.1 * (1 - a), x),
        lambda x: jnp.clip(x, beside(x, c), beside(x, c) + 0.5),
        lambda x: x * (x > 0),
        lambda x: lax.clamp(np.asarray(-0.2, x.dtype), x, np.asarray(0.4, x.dtype)),
        jax.nn.hard_sigmoid,
        jax.nn.hard_swish,
        lambda x: jnp.where(x >= 0, a * x, 2 * x),
        lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    )


@operation(VECTOR)
def choice(draw):
    c = draw.normal(6)
    mask = draw.generator.integers(0, 2, (1, 6)).astype(bool)
    return draw.one(
        lambda x: jnp.where(x > x[:, ::-1], x, 2 * x),
        lambda x: jnp.where(mask, x, 0.2),
        lambda x: jnp.where(x < beside(x, c), x[:, ::-1], 0.5),
        lambda x: jnp.where(x[:, :1] >= 0.1, x, -x),
        lambda x: jnp.where(0.2 > x, 1.0, jnp.zeros_like(x)),
        lambda x: jnp.where(mask, x, -x),
        lambda x: jnp.where(x > 0.1, beside(x, c), x),
    )


@operation(VECTOR)
def logic(draw):
    mask, a = draw.generator.integers(0, 2, (1, 6)).astype(bool), draw.number(0, 1)
    return draw.one(
        lambda x: jnp.where((x > 0) & (x < a), x, 0.2),
        lambda x: jnp.where((x > a) | (x[:, ::-1] > 0), x, -x),
        lambda x: jnp.where(~(x > a) & mask, x, 0.0),
        lambda x: jnp.where(jnp.logical_xor(x > 0, x[:, ::-1] > 0), x, 1.0),
        lambda x: jnp.where(jnp.any(x > a, 1, keepdims=True), x, 0.0),
        lambda x: jnp.where(jnp.all(x > -a, 1, keepdims=True), 2 * x, x),
        lambda x: jnp.where((x > 0) == (x[:, ::-1] > 0), x, 0.0),
        lambda x: x * ((x > 0) & (x < a)),
        lambda x: x * (x > a).astype(int) - (x < 0).astype(jnp.int8),
        lambda x: jnp.where(jnp.where(mask, x > 0, x[:, ::-1] > a), x, 0.0),
        lambda x: jnp.where(jnp.where(x > a, x[:, ::-1] > 0, mask), 1.0, x),
        lambda x: jnp.fmax(x, x[:, ::-1]),
        lambda x: jnp.where(x == a, 1.0, x),
        lambda x: jnp.where(x[:, ::-1] != x, x, 0.5),
    )


@operation((4, 5))
def fourier(draw):
    w = draw.normal(4, 5)

    def filtered(x):
        waves = jnp.fft.rfft2(x)
        return jnp.fft.irfft2(waves * like(x, w[:, : waves.shape[-1]])[None], (4, 5))

    return draw.one(
        lambda x: jnp.abs(jnp.fft.rfft(x)),
        lambda x: jnp.abs(jnp.fft.fft2(x)),
        lambda x: jnp.real(jnp.fft.ifft(x)) - jnp.imag(jnp.fft.fft(x)),
        lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * (1 + 0.5j), 5),
        lambda x: jnp.real(jnp.fft.fft(x) * jnp.conj(jnp.fft.fft(x[:, ::-1]))),
        lambda x: jnp.imag(jnp.pad(jnp.fft.rfft(x)[:, ::-1, 1:], ((0, 0), (1, 0), (0, 1)))),
        filtered,
    )


@operation(VECTOR)
def steps(draw):
    a = draw.number(0.3, 1)
    return draw.one(
        lambda x: jnp.floor(3 * x),
        lambda x: jnp.ceil(x),
        lambda x: jnp.round(2 * x) + x,
        lambda x: jnp.round(x, 1),
        jnp.sign,
        lambda x: jnp.trunc(3 * x),
        lambda x: x // a,
        lambda x: jnp.mod(x, a),
        lambda x: jnp.fmod(x, a),
        lambda x: lax.rem(x, jnp.broadcast_to(like(x, a), x.shape)),
        lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    )


@operation(VECTOR)
def order(draw):
    k, descending = draw.integer(1, 6), draw.one(True, False)
    return draw.one(
        lambda x: jnp.sort(x, 1, descending=descending),
        lambda x: lax.top_k(x, k)[0],
        lambda x: jnp.median(x, 1, keepdims=True),
        lambda x: jnp.sort(x.reshape(-1, 2, 3), 1),
        lambda x: jnp.quantile(x, 0.3, axis=1, keepdims=True),
    )


@operation(VECTOR)
def larger(draw):
    a = draw.normal(6, 6)
    return draw.one(
        lambda x: jnp.maximum(x, x @ like(x, a)),
        lambda x: jnp.minimum(x @ like(x, a), x[:, ::-1]),
        lambda x: jnp.maximum(x, -x),
        lambda x: jnp.maximum(x[:, :1], x),
        lambda x: jnp.minimum(x[:, :3], x[:, 3:]),
    )


@operation(IMAGE)
def largest(draw):
    axes = draw.one((1, 2), (1,), (3,), (2, 3), (1, 2, 3))
    return draw.one(lambda x: x.max(axes), lambda x: x.min(axes, keepdims=True), lambda x: -x.max(axes))


@operation(IMAGE)
def max_pool(draw):
    window, strides = ((1, draw.integer(1, 3), draw.integer(1, 3), draw.one(1, 1, 2)) for _ in range(2))
    dilation, base = ((1, draw.one(1, 1, 2), draw.one(1, 1, 2), 1) for _ in range(2))
    borders = draw.one("SAME", "VALID", [(0, 0), (1, 0), (0, 1), (0, 0)], [(0, 0), (1, 1), (1, 1), (0, 0)])
    if borders == "VALID":
        dilation = (1, 1, 1, 1)
    return lambda x: lax.reduce_window(x, -np.inf, lax.max, window, strides, borders, base, dilation)


@operation(IMAGE)
def flax_max_pool(draw):
    import flax.linen as nn

    window, strides, borders = (3, 2), (draw.integer(1, 3), 2), draw.one("SAME", "VALID", ((1, 1), (0, 1)))
    return lambda x: nn.max_pool(x, window, strides, borders)


@operation(VECTOR)
def shared(draw):
    w = draw.normal(6, 6)
    return lambda x: jax.nn.relu(x) @ like(x, w) + jax.nn.relu(x)


# Smooth operations


def _smooth(name, *functions, positive=False):
    @operation(VECTOR, positive)
    def make(draw):
        function, scale = draw.one(*functions), draw.one(1.0, 4.0, 15.0)
        return (lambda x: function(x)) if positive else (lambda x: function(scale * x))

    OPERATIONS[name] = OPERATIONS.pop("make")
    if positive:
        POSITIVE.remove("make")
        POSITIVE.add(name)


_smooth("sigmoid", jax.nn.sigmoid, lambda x: 1 / (1 + jnp.exp(-x)), jax.nn.log_sigmoid)
_smooth("tanh", jnp.tanh, lambda x: lax.erf(x), lambda x: lax.erfc(x), lambda x: 2 * jax.nn.sigmoid(2 * x) - 1)
_smooth("gelu", functools.partial(jax.nn.gelu, approximate=False), jax.nn.gelu)
_smooth("silu", jax.nn.silu, lambda x: x * jax.nn.sigmoid(x), lambda x: x * jax.nn.sigmoid(1.702 * x), jax.nn.mish)
_smooth("derivative", lambda x: jax.jvp(jnp.tanh, (x,), (jnp.ones_like(x),))[1])
_smooth("softplus", jax.nn.softplus, lambda x: jnp.log1p(jnp.exp(x)), lambda x: jnp.logaddexp(x, 0.5))
_smooth("elu", jax.nn.elu, jax.nn.selu, lambda x: jax.nn.elu(x, 0.3), jax.nn.celu, jax.nn.soft_sign)
_smooth("exponential", jnp.exp, lambda x: jnp.expm1(0.1 * x), lambda x: jnp.exp2(0.2 * x), lambda x: 2.0 ** (0.1 * x))
_smooth("polynomial", jnp.square, lambda x: x**2, lambda x: x**3, lambda x: x**4, lambda x: x * x, lambda x: 0.1 * x**5 - x)
_smooth("logarithm", jnp.log, jnp.log1p, lambda x: jnp.log2(x), positive=True)
_smooth("root", jnp.sqrt, lambda x: x**0.5, lax.rsqrt, jnp.cbrt, lambda x: x**1.5, lambda x: x**-0.7, positive=True)
_smooth("wave", jnp.sin, jnp.cos, lambda x: jnp.sin(x) + x, jnp.sinc, lambda x: jnp.tan(0.1 * x))
_smooth(
    "angle", jnp.arctan, lambda x: jnp.arctan2(x, 0.7), lambda x: jnp.arctan2(x, 2 + x), lambda x: jnp.arcsin(0.9 * jnp.tanh(x))
)
_smooth("hyperbolic", lambda x: jnp.sinh(x / 5), lambda x: jnp.cosh(x / 5), jnp.arcsinh, lambda x: lax.erf_inv(0.9 * jnp.tanh(x)))
_smooth("length", lambda x: jnp.hypot(x, 0.5), lambda x: jnp.hypot(x[:, :3], x[:, 3:] + 1), lambda x: jnp.hypot(x, x - 3))
_smooth("reciprocal", lambda x: 1 / x, lambda x: x**-1, lambda x: -2 / x, lambda x: x**-2, lambda x: x**-3, positive=True)


# Products of bounded values


@operation(VECTOR)
def product(draw):
    w = draw.normal(6, 6)
    return draw.one(
        lambda x: x * (x @ like(x, w)),
        lambda x: x[:, :1] * jnp.tanh(x),
        lambda x: (x * x[:, ::-1]).sum(1, keepdims=True),
        lambda x: x * jax.nn.sigmoid(x @ like(x, w)),
        lambda x: x * x * x,
    )


@operation((3, 4))
def dot(draw):
    w = draw.normal(4, 4)
    return draw.one(
        lambda x: jnp.einsum("bij,bkj->bik", x, x @ like(x, w)),
        lambda x: jnp.einsum("bij,bik->bjk", x, x),
        lambda x: jnp.einsum("bij,bij->bi", x, jnp.tanh(x)),
        lambda x: jnp.einsum("bij,bj->bi", x, x[:, 0]),
    )


@operation(VECTOR, positive=True)
def quotient(draw):
    c = draw.normal(6)
    return draw.one(lambda x: x / x[:, ::-1], lambda x: beside(x, c) / x, lambda x: x[:, :1] / x)


@operation(VECTOR)
def softmax(draw):
    return draw.one(
        lambda x: jax.nn.softmax(x, -1),
        lambda x: jax.nn.logsumexp(x, 1, keepdims=True),
        lambda x: jax.nn.log_softmax(3 * x),
        lambda x: jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True),
        lambda x: jax.nn.softmax(x.reshape(-1, 2, 3), (1, 2)),
        lambda x: jax.nn.softmax(8 * x, where=np.arange(6)[None] % 3 > 0),
        lambda x: jax.nn.softmax(jnp.where(np.arange(6)[None] > 2, x, -jnp.inf)),
        lambda x: jnp.exp(jax.nn.log_softmax(x)),
    )


@operation((3, 4))
def attention(draw):
    q, k, v = (draw.normal(4, 4) for _ in range(3))
    causal = draw.one(None, np.tril(np.ones((3, 3), bool))[None])

    def function(x):
        scores = jnp.einsum("bqd,bkd->bqk", x @ like(x, q), x @ like(x, k))
        scores = scores if causal is None else jnp.where(causal, scores, draw_mask)
        return jax.nn.softmax(scores) @ (x @ like(x, v))

    draw_mask = draw.one(-1e30, -jnp.inf)
    return function


@operation(VECTOR)
def layer_norm_live(draw):
    scale = draw.normal(6)

    def function(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 0.1) * beside(x, scale)

    return draw.one(function, lambda x: jax.nn.standardize(x, epsilon=0.1))


def network(names: tuple[str, ...], seed: int):
    """f: [batch, 2, 3] -> [batch, 3], with operations of these names between dense layers."""
    draw = Draw(seed)
    steps = []
    for each in names:
        function, shape = OPERATIONS[each](draw)
        steps.append((function, shape, each in POSITIVE, draw.generator.normal(size=2000), draw.normal(64)))

    def f(x):
        for function, shape, positive, weights, offset in steps:
            x = x.reshape(x.shape[0], -1)
            size, given = int(np.prod(shape)), x.shape[1]
            w = np.resize(weights, (given, size)) / np.sqrt(given)
            x = x @ like(x, np.abs(w) if positive else w) + beside(x, np.resize(offset, size) + (1.5 if positive else 0))
            x = function((jnp.maximum(x, 0.2) if positive and len(steps) > 1 else x).reshape(x.shape[0], *shape))
        x = x.reshape(x.shape[0], -1)
        return x @ like(x, np.resize(steps[0][3][::-1], (x.shape[1], 3)))

    return f


def farthest(gradient, radius, norm):
    """The point of the ball that maximises <gradient, deviation>: [batch, ...]."""
    flat = gradient.reshape(len(gradient), -1)
    if norm == "linf":
        deviation = jnp.sign(flat)
    elif norm == "l2":
        deviation = flat / jnp.maximum(jnp.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    else:
        deviation = jnp.sign(flat) * jax.nn.one_hot(jnp.abs(flat).argmax(1), flat.shape[1], dtype=flat.dtype)
    return (radius[:, None] * deviation).reshape(gradient.shape)


def attacked(f, x, radius, norm, clip, outputs: int, starts: int = 4, steps: int = 12):
    """f at points of the balls around x [batch, ...], driven to the minimum and maximum of each output: [batch, points, outputs].

    Among them are x itself, random points, and corners: gradient steps first go to the ball's farthest point along the gradient
    and then part of the way to it.
    """
    rng = np.random.default_rng(0)
    low, high = clip or (-np.inf, np.inf)
    directions = np.repeat(np.concatenate([np.eye(outputs), -np.eye(outputs)]), starts, 0)
    count = len(directions)
    centre, size = jnp.repeat(x, count, 0), jnp.repeat(jnp.broadcast_to(radius, len(x)), count)
    weights = np.tile(directions, (len(x), 1))
    share = rng.uniform(size=(len(centre), *[1] * (x.ndim - 1)))
    share[::starts] = 0
    start = jnp.clip(centre + share * farthest(jnp.asarray(rng.normal(size=centre.shape), x.dtype), size, norm), low, high)

    def step(at, i):
        try:
            gradient = jax.grad(lambda z: (f(z).reshape(len(z), -1) * weights).sum())(at)
        except (NotImplementedError, ValueError):  # JAX has no derivative of max pools with window dilation, or of reduce
            gradient = jax.random.normal(jax.random.key(i), at.shape, at.dtype)
        corner = jnp.clip(centre + farthest(jnp.nan_to_num(gradient), size, norm), low, high)
        at = at + jnp.where(i < 3, 1.0, 2 / (i + 1.0)) * (corner - at)
        return at, at

    _, path = lax.scan(step, start, jnp.arange(steps))
    points = jnp.concatenate([start[None], path])
    values = f(points.reshape(-1, *x.shape[1:])).reshape(steps + 1, len(x), count, outputs)
    return values.swapaxes(0, 1).reshape(len(x), -1, outputs)
