"""Max pool, with derivatives that stay fast on a CPU, where XLA's own derivative of a window maximum is slow.

The derivative of a window is that of the first of its largest pixels, as in torch. Forward and reverse mode are

    output[window] = direction[pixel `place` of the window]
    image[pixel]   = sum over taps of  direction[window] where place[window] == tap

These are each other's transposes, so that one linear primitive with a `solve` parameter is closed under differentiation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from dsrna_jax.kernels.lowering import define

routed_p = Primitive("max_pool_routed")


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def max_pool(
    x: Float[Array, "*stack height width"], window: int, stride: int, padding: int = 0
) -> Float[Array, "*stack height_out width_out"]:
    """Max pool of the last two axes to ceil(size / stride), padded by `padding` rows of -inf in front, and as needed behind.

    The first of tied pixels has all of the derivative, as in torch.
    """
    ones = (1,) * (x.ndim - 2)
    borders = [(0, 0)] * (x.ndim - 2) + _borders(x.shape[-2:], window, stride, padding)
    lowest = np.asarray(-np.inf, x.dtype)
    return lax.reduce_window(x, lowest, lax.max, (*ones, window, window), (*ones, stride, stride), borders)


@max_pool.defjvp
def _max_pool_jvp(window, stride, padding, primals, tangents):
    (x,), (direction,) = primals, tangents
    y = max_pool(x, window, stride, padding)
    grid = {"window": window, "stride": stride, "padding": padding}
    place = _first_largest(_to_windows(x, y.shape[-2:], -np.inf, **grid))
    return y, routed_p.bind(direction, place, solve="output", size=y.shape[-2:], **grid)


def _first_largest(entries):
    """The tap of the first of the largest entries of each window.

    Entries are compared with one another and not with the maximum: XLA computes x again where it fuses, with other roundings, and
    then none of them may equal a maximum that it has computed elsewhere.
    """
    largest = next(entries)
    place = jnp.zeros(largest.shape, int)
    for tap, entry in enumerate(entries, start=1):
        place, largest = jnp.where(entry > largest, tap, place), jnp.maximum(largest, entry)
    return place


def _borders(size, window, stride, padding):
    return [(padding, max((-(-n // stride) - 1) * stride + window - n - padding, 0)) for n in size]


def _padded(x, fill, borders):
    return lax.pad(x, np.asarray(fill, x.dtype), [(0, 0, 0)] * (x.ndim - 2) + borders)


def _to_windows(x, size, fill, *, window, stride, padding):
    """Yields for each tap the pixel that every window has there, [..., *size]."""
    x = _padded(x, fill, [(*b, 0) for b in _borders(x.shape[-2:], window, stride, padding)])
    last = [stride * (n - 1) + 1 for n in size]
    for i, j in np.ndindex(window, window):
        yield x[..., i : i + last[0] : stride, j : j + last[1] : stride]


def _to_pixels(y, size, fill, *, window, stride, padding):
    """Yields for each tap the value of the window that has every pixel there, [..., *size]; `fill` without such a window."""
    far = (n - 1 + padding - stride * (m - 1) for n, m in zip(size, y.shape[-2:], strict=True))
    y = _padded(y, fill, [(window - 1 - padding, f, stride - 1) for f in far])
    for i, j in np.ndindex(window, window):
        yield y[..., window - 1 - i : window - 1 - i + size[0], window - 1 - j : window - 1 - j + size[1]]


def _routed(direction, place, *, solve, size, **grid):
    if solve == "output":
        return sum(jnp.where(place == tap, d, 0) for tap, d in enumerate(_to_windows(direction, size, 0, **grid)))
    windows = zip(_to_pixels(place, size, -1, **grid), _to_pixels(direction, size, 0, **grid), strict=True)
    return sum(jnp.where(place == tap, d, 0) for tap, (place, d) in enumerate(windows))


def _transpose(ct, direction, place, *, solve, size, **grid):
    back = {"output": "image", "image": "output"}[solve]
    return routed_p.bind(ct, place, solve=back, size=direction.aval.shape[-2:], **grid)


def _batched(operands, axes, **params):
    """The mapped axis goes in front; directions may have leading axes that the images lack."""
    count = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    direction, place = (o if a is None else jnp.moveaxis(o, a, 0) for o, a in zip(operands, axes, strict=True))
    if axes[0] is None:
        direction = jnp.broadcast_to(direction, (count, *direction.shape))
    if axes[1] is not None:
        place = place.reshape(count, *(1,) * (direction.ndim - place.ndim), *place.shape[1:])
    return routed_p.bind(direction, place, **params), 0


def _abstract(direction, place, *, size, **_):
    return direction.update(shape=(*direction.shape[:-2], *size))


# The place of the largest is constant almost everywhere: only the direction has derivatives.
static = ("solve", "size", "window", "stride", "padding")
define(routed_p, _routed, _abstract, _batched, static=static, transposes=(_transpose,))
