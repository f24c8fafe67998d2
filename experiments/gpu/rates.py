"""Rates of a card: matrix products, copies, launches, and the convolutions of a network in our layout."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.kernels.depthwise import depthwise, square_taps
from experiments.benchmarks.timing import median_ms
from experiments.gpu.programs import Size

REPEATS = 20


def card(size: Size, side: int) -> dict[str, Any]:
    """TFLOP a second of products, TB a second of copies, and microseconds of a call and of a kernel in a loop."""
    width, long = (8192, 2**30) if side >= 32 else (128, 2**16)
    matrix, numbers, few = jnp.ones((width, width)), jnp.ones(long), jnp.ones(8)
    rates = {}
    for name, dtype, precision in (
        ("bfloat16", "bfloat16", None),
        ("tf32", "float32", "tensorfloat32"),
        ("float32", "float32", "highest"),
    ):
        product = jax.jit(lambda a, precision=precision: jnp.dot(a, a, precision=precision))
        operand = matrix.astype(dtype)
        rates[f"{name}_tflops"] = _rounded(2 * width**3 / _ms(product, operand) / 1e9)
    add = jax.jit(lambda a: a + 1)
    loop = jax.jit(lambda a: lax.fori_loop(0, 200, lambda _, v: jnp.sort(v) * 1.01, a))
    rates["copy_tb_s"] = _rounded(2 * numbers.nbytes / _ms(add, numbers) / 1e9)
    return rates | {"call_us": _rounded(1e3 * _ms(add, few)), "kernel_us": _rounded(5 * _ms(loop, few))}


def convolutions(size: Size, side: int) -> dict[str, Any]:
    """Milliseconds of depthwise convolutions, forwards and backwards, and of reading and writing their maps at 3 TB a second."""
    rates = {}
    for taps, dilation, groups, channels, multiples in ((3, 1, 2, 4, 12), (5, 2, 2, 4, 12), (3, 1, 1, 36, 1), (5, 1, 1, 36, 1)):
        grid = square_taps(taps, dilation)
        image = jnp.ones((groups, channels, size.batch_size, side, side))
        kernel = jnp.ones((taps**2, groups, multiples, channels))
        forward = jax.jit(lambda image, kernel, grid=grid: depthwise(image, kernel, grid))
        output = forward(image, kernel)
        backward = jax.jit(lambda image, kernel, ct, forward=forward: jax.vjp(forward, image, kernel)[1](ct))
        rates[f"{taps}x{taps} dilation {dilation}, {groups}x{channels} channels by {multiples}"] = {
            "forward_ms": _rounded(_ms(forward, image, kernel)),
            "backward_ms": _rounded(_ms(backward, image, kernel, output)),
            "least_ms": _rounded((image.nbytes + output.nbytes) / 3e9),
        }
    return rates


def _ms(f, *arguments) -> float:
    return median_ms(lambda: f(*arguments), REPEATS, digits=6)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
