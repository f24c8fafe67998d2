"""Smooth operations, and products of bounded values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded_operations.drawing import OPERATIONS, POSITIVE, VECTOR, beside, like, operation


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
