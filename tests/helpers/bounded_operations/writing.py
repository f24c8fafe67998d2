"""Padding, pools from a value, writes to indices, random numbers, control flow."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded_operations.drawing import IMAGE, VECTOR, like, operation


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
