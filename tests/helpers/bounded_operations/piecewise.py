"""Piecewise linear operations, choices, jumps, sorting, Fourier transforms."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded_operations.drawing import IMAGE, VECTOR, beside, like, operation


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
def integers(draw):
    w, k = np.round(5 * draw.normal(6, 6)).astype(np.int8), draw.integer(2, 5)
    whole = lambda x, dtype: jnp.clip(20 * x, -100, 100).astype(dtype)  # noqa: E731
    changed = draw.one(
        lambda x: jnp.dot(whole(x, np.int8), w, preferred_element_type=np.int32) / 30,
        lambda x: whole(x, np.int16) // k - whole(x, np.int16) % k,
        lambda x: lax.div(whole(x, np.int32), np.int32(k)) + lax.rem(whole(x, np.int32), np.int32(-k)),
        lambda x: whole(jnp.abs(x), np.uint8) * np.uint8(k) * 0.1,
        lambda x: jnp.take(jnp.asarray(w)[:, 0], whole(x, np.int32) // 20, mode="clip"),
        lambda x: jnp.maximum(whole(x, np.int32), np.int32(k)) - whole(x, np.int32).sum(1, keepdims=True),
    )
    return lambda x: changed(x).astype(x.dtype)


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
