"""Max pool, with derivatives that stay fast on a CPU, where XLA's own derivative of a window maximum is slow.

Its derivative routes the share of each window to the first of its largest pixels, as in torch, and back:

    output[window] = direction[pixel `place` of the window]
    image[pixel]   = sum over taps of  direction[window] where place[window] == tap

They are each other's transposes, and one linear primitive with a `solve` parameter is closed under differentiation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def max_pool(x, window: int, stride: int, padding: int = 0):
    """Max pool of the last two axes to ceil(size / stride), padded by -inf."""
    ones = (1,) * (x.ndim - 2)
    borders = [(0, 0)] * (x.ndim - 2) + _borders(x.shape[-2:], window, stride, padding)
    lowest = np.asarray(-np.inf, x.dtype)
    return lax.reduce_window(x, lowest, lax.max, (*ones, window, window), (*ones, stride, stride), borders)


@max_pool.defjvp
def _max_pool_jvp(window, stride, padding, primals, tangents):
    (x,), (direction,) = primals, tangents
    y = max_pool(x, window, stride, padding)
    grid = {"window": window, "stride": stride, "padding": padding}
    place, seen = jnp.zeros(y.shape, int), list(_to_windows(x, y.shape[-2:], -np.inf, **grid))
    for tap in reversed(range(len(seen))):
        place = jnp.where(seen[tap] == y, tap, place)
    return y, routed_p.bind(direction, place, solve="output", size=y.shape[-2:], **grid)


def _borders(size, window, stride, padding):
    return [(padding, max((-(-n // stride) - 1) * stride + window - n - padding, 0)) for n in size]


def _padded(x, fill, borders):
    return lax.pad(x, np.asarray(fill, x.dtype), [(0, 0, 0)] * (x.ndim - 2) + borders)


def _to_windows(x, size, fill, *, window, stride, padding):
    """For each tap, the pixel that every window sees there: [..., *size]."""
    x = _padded(x, fill, [(*b, 0) for b in _borders(x.shape[-2:], window, stride, padding)])
    last = [stride * (n - 1) + 1 for n in size]
    for i, j in np.ndindex(window, window):
        yield x[..., i : i + last[0] : stride, j : j + last[1] : stride]


def _to_pixels(y, size, fill, *, window, stride, padding):
    """For each tap, the window that sees every pixel there, `fill` if there is none: [..., *size]."""
    far = (n - 1 + padding - stride * (m - 1) for n, m in zip(size, y.shape[-2:], strict=True))
    y = _padded(y, fill, [(window - 1 - padding, f, stride - 1) for f in far])
    for i, j in np.ndindex(window, window):
        yield y[..., window - 1 - i : window - 1 - i + size[0], window - 1 - j : window - 1 - j + size[1]]


def _routed(direction, place, *, solve, size, **grid):
    if solve == "output":
        return sum(jnp.where(place == tap, d, 0) for tap, d in enumerate(_to_windows(direction, size, 0, **grid)))
    windows = zip(_to_pixels(place, size, -1, **grid), _to_pixels(direction, size, 0, **grid), strict=True)
    return sum(jnp.where(place == tap, d, 0) for tap, (place, d) in enumerate(windows))


def _jvp(primals, tangents, **params):
    """Who wins is constant almost everywhere, so only the direction has a tangent."""
    result = routed_p.bind(*primals, **params)
    if type(tangents[0]) is ad.Zero:
        return result, ad.Zero.from_primal_value(result)
    return result, routed_p.bind(tangents[0], primals[1], **params)


def _transpose(ct, direction, place, *, solve, size, **grid):
    if type(ct) is ad.Zero:
        return [None, None]
    back = {"output": "image", "image": "output"}[solve]
    return [routed_p.bind(ct, place, solve=back, size=direction.aval.shape[-2:], **grid), None]


def _batched(operands, axes, **params):
    """The mapped axis goes in front; directions may have leading axes that the images lack."""
    count = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    direction, place = (o if a is None else jnp.moveaxis(o, a, 0) for o, a in zip(operands, axes, strict=True))
    if axes[0] is None:
        direction = jnp.broadcast_to(direction, (count, *direction.shape))
    if axes[1] is not None:
        place = place.reshape(count, *(1,) * (direction.ndim - place.ndim), *place.shape[1:])
    return routed_p.bind(direction, place, **params), 0


routed_p = Primitive("max_pool_routed")
routed_p.def_impl(jax.jit(_routed, static_argnames=("solve", "size", "window", "stride", "padding")))
routed_p.def_abstract_eval(lambda direction, place, size, **_: direction.update(shape=(*direction.shape[:-2], *size)))
ad.primitive_jvps[routed_p] = _jvp
ad.primitive_transposes[routed_p] = _transpose
batching.primitive_batchers[routed_p] = _batched
mlir.register_lowering(routed_p, mlir.lower_fun(_routed, multiple_results=False))
