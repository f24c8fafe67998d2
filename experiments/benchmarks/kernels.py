"""Time of the package's kernels beside what XLA or plain JAX has for the same, in alternation, on random numbers."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.kernels import convolution, depthwise, lowering, max_pool, reductions
from dsrna_jax.runtime import sharding


class Pair(NamedTuple):
    """Two functions of the same arrays: ours, and the plain way to the same."""

    name: str
    ours: Callable
    plain: Callable
    arguments: tuple[Any, ...]


def pairs(batch: int = 16) -> Iterator[Pair]:
    """Depthwise convolutions and max pools of the size of a PC-DARTS node, convolutions, stacks of nine arrays, and a padding."""
    draw = functools.partial(jax.random.normal, jax.random.key(0))
    for size, channels, stride in ((32, 4, 1), (32, 8, 1), (32, 8, 2), (8, 32, 1)):
        taps = depthwise.square_taps(5)
        image, kernel = draw((2, channels, batch, size, size)), draw((len(taps), 2, 8, channels))
        for derivative in ("forward", "by the image", "by the kernel"):
            ours = functools.partial(depthwise.depthwise, taps=taps, stride=stride)
            plain = functools.partial(_library_depthwise, stride=stride)
            name = f"depthwise 5x5, 2 maps of {channels} channels, 8 kernels each, {size}x{size}, stride {stride}, {derivative}"
            yield Pair(name, _derived(ours, derivative), _derived(plain, derivative), (image, kernel))
    image, kernel = draw((batch, 28, 28, 16)), draw((3, 3, 16, 32))
    for derivative in ("forward", "by the image", "by the kernel"):
        for name, around in {"": lambda f: f, "in a loop, ": _looped}.items():
            pair = (around(_derived(f, derivative)) for f in (_own_convolution, _library_convolution))
            yield Pair(f"convolution 3x3, 16 to 32 channels, 28x28, {name}{derivative}", *pair, (image, kernel))
    maps = draw((8, batch, 32, 32))
    window = (1, 1, 3, 3), (1, 1, 1, 1), [(0, 0), (0, 0), (1, 1), (1, 1)]
    plain = jax.grad(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, *window).sum())
    yield Pair("derivative of a max pool 3x3", jax.grad(lambda x: max_pool.max_pool(x, 3, 1, 1).sum()), plain, (maps,))
    stack = draw((9, 512, 512))
    yield Pair("largest of nine arrays", reductions.largest, lambda x: x.max(0), (stack,))
    yield Pair("sum of nine arrays", reductions.total_of, lambda x: x.sum(0), (stack,))
    top = lambda x: lax.top_k(jnp.moveaxis(x, 0, -1), 2)[1]  # noqa: E731
    yield Pair("places of the two largest of nine arrays", reductions.two_largest, top, (stack,))
    borders = [(0, 0), (2, 2), (2, 2)]
    yield Pair("zeros around a million numbers", lambda x: lowering.pad_with_zeros(x, borders), lambda x: jnp.pad(x, borders),
               (draw((4, 500, 500)),))  # fmt: skip


def kernel_costs(repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each of `pairs`: least milliseconds of ours and of the plain way, and their ratio."""
    for pair in pairs():
        compiled = [jax.jit(f).lower(*pair.arguments).compile() for f in (pair.ours, pair.plain)]
        least = [float("inf")] * 2
        for _ in range(repeats + 1):  # the first run warms up
            for index, f in enumerate(compiled):
                began = time.perf_counter()
                jax.block_until_ready(f(*pair.arguments))
                least[index] = min(least[index], time.perf_counter() - began)
        ours, plain = (1e3 * seconds for seconds in least)
        row = {"kernel": pair.name, "ours_ms": round(ours, 2), "plain_ms": round(plain, 2), "ratio": round(plain / ours, 1)}
        yield row | {"device": sharding.described(sharding.mesh(1)), "jax": jax.__version__}


def _derived(f: Callable, derivative: str) -> Callable:
    if derivative == "forward":
        return f
    return jax.grad(lambda image, kernel: f(image, kernel).sum(), argnums=int(derivative == "by the kernel"))


def _looped(f: Callable) -> Callable:
    """f in a loop, whose compiler cannot know that there is but one step."""

    def looped(image, kernel):
        start = jax.tree.map(jnp.zeros_like, jax.eval_shape(f, image, kernel))
        steps = 1 + (image[0, 0, 0, 0] > 1e9).astype(int)
        return lax.fori_loop(0, steps, lambda step, total: total + f(image + step, kernel), start)

    return looped


def _own_convolution(image, kernel):
    return convolution.convolution(image, kernel, strides=(1, 1), padding=[(1, 1)] * 2, dilation=(1, 1))


def _library_convolution(image, kernel):
    return lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _library_depthwise(image, kernel, stride):
    """A depthwise convolution of 5x5 taps, in the order of `square_taps`, by `lax.conv_general_dilated`."""
    groups, channels, batch, *size = image.shape
    filters = jnp.transpose(kernel, (1, 3, 2, 0)).reshape(-1, 1, 5, 5)
    flat = jnp.moveaxis(image, 2, 0).reshape(batch, groups * channels, *size)
    result = lax.conv_general_dilated(flat, filters, (stride, stride), [(2, 2)] * 2, feature_group_count=groups * channels)
    return jnp.transpose(result.reshape(batch, groups, channels, -1, *result.shape[-2:]), (1, 3, 2, 0, 4, 5))
