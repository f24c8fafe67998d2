"""`depthwise` against XLA's convolution, and its derivatives against those of XLA's convolution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import depthwise as module
from dsrna_jax.depthwise import depthwise

GRIDS = list(itertools.product([(8, 8), (7, 5)], [(3, 1), (5, 1), (3, 2), (5, 2)], [1, 2], [1, 3]))


def operands(size, taps, multiples, dtype=jnp.float32):
    image, kernel = jax.random.split(jax.random.key(0))
    return (
        jax.random.normal(image, (2, 3, 4, *size), dtype),
        jax.random.normal(kernel, (taps, taps, 2, multiples, 3), dtype),
    )


def library(image, kernel, *, stride, dilation):
    return module._library_output(
        image, kernel, stride=stride, dilation=dilation, taps=kernel.shape[0], size=image.shape[-2:]
    )


@pytest.mark.parametrize("size, kind, stride, multiples", GRIDS)
def test_equals_the_library_convolution_and_so_do_both_gradients(size, kind, stride, multiples):
    taps, dilation = kind
    image, kernel = operands(size, taps, multiples)
    ours, pullback = jax.vjp(lambda x, k: depthwise(x, k, square_taps(taps, dilation), stride=stride), image, kernel)
    theirs, their_pullback = jax.vjp(lambda x, k: library(x, k, stride=stride, dilation=dilation), image, kernel)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    cotangent = jax.random.normal(jax.random.key(1), ours.shape)
    for mine, reference in zip(pullback(cotangent), their_pullback(cotangent), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_second_derivatives_in_every_mode(stride):
    with jax.enable_x64(True):
        image, kernel = operands((6, 5), 3, 2, jnp.float64)

        def energy(convolution, x, k):
            return jnp.sum(jnp.sin(convolution(x, k, stride=stride, dilation=1)))

        direction = (jnp.cos(image), jnp.cos(kernel))
        for convolve in (
            lambda f: jax.jvp(jax.grad(f, (0, 1)), (image, kernel), direction)[1],
            lambda f: jax.grad(lambda x, k: sum(map(jnp.vdot, jax.grad(f, (0, 1))(x, k), direction)), (0, 1))(
                image, kernel
            ),
            lambda f: jax.grad(lambda x, k: jax.jvp(f, (x, k), direction)[1], (0, 1))(image, kernel),
        ):
            mine = convolve(lambda x, k: energy(depthwise, x, k))
            reference = convolve(lambda x, k: energy(library, x, k))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), mine, reference)


@pytest.mark.parametrize("axes", [(0, None), (None, 3), (2, 0)])
@pytest.mark.parametrize("wanted", ["value", "image", "kernel"])
def test_vmap_equals_a_loop(axes, wanted):
    image, kernel = operands((5, 6), 3, 2)
    many = [
        jnp.stack([a, 2 * a, -a], axis) if axis is not None else a
        for a, axis in zip((image, kernel), axes, strict=True)
    ]
    f = {
        "value": depthwise,
        "image": jax.grad(lambda x, k: jnp.sum(depthwise(x, k) ** 2)),
        "kernel": jax.grad(lambda x, k: jnp.sum(depthwise(x, k) ** 2), 1),
    }[wanted]
    loop = [
        f(*(jnp.take(a, i, axis) if axis is not None else a for a, axis in zip(many, axes, strict=True)))
        for i in range(3)
    ]
    np.testing.assert_allclose(jax.vmap(f, axes)(*many), jnp.stack(loop), rtol=1e-4, atol=1e-4)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="odd"):
        depthwise(jnp.zeros((1, 1, 1, 4, 4)), jnp.zeros((2, 2, 1, 1, 1)))
