"""Networks of random operations, and an attack on the extremes of their outputs."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bounded_operations.drawing import OPERATIONS, POSITIVE, Draw, beside, like


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
