"""`depthwise` against XLA's convolution, and its derivatives of every order and mode against those of XLA's convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels import depthwise as module
from dsrna_jax.kernels.depthwise import depthwise, square_taps

TAPS = {
    "3x3": square_taps(3),
    "dilated": square_taps(3, 2),
    "both": tuple(sorted({*square_taps(3), *square_taps(5, 2)})),
}


def operands(size, taps, multiples, dtype=jnp.float32):
    image, kernel = jax.random.split(jax.random.key(0))
    return (
        jax.random.normal(image, (2, 3, 4, *size), dtype),
        jax.random.normal(kernel, (len(taps), 2, multiples, 3), dtype),
    )


def library(image, kernel, taps, *, stride=1):
    return module._library_output(image, kernel, taps=taps, stride=stride, size=image.shape[-2:])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def value_and_gradients(convolve, taps, stride, image, kernel):
    y, pullback = jax.vjp(lambda x, k: convolve(x, k, taps, stride=stride), image, kernel)
    return y, *pullback(jnp.cos(y))


BANDS = [((8, 8), 1, 3), ((7, 5), 2, 1), ((6, 7), 2, 3), ((4, 3), 1, 4)]
SHIFTS = [((5, 4), 1, 1), ((3, 40), 1, 3), ((4, 41), 2, 2), ((5, 40), 1, 1)]


@pytest.mark.parametrize("size, stride, multiples", BANDS + SHIFTS)
@pytest.mark.parametrize("kind", TAPS)
def test_equals_the_library_convolution_and_so_do_both_gradients(size, stride, multiples, kind):
    image, kernel = operands(size, TAPS[kind], multiples)
    ours = value_and_gradients(depthwise, TAPS[kind], stride, image, kernel)
    theirs = value_and_gradients(library, TAPS[kind], stride, image, kernel)
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(6, 5), (3, 26)])
@pytest.mark.parametrize("mode", ["forward over reverse", "reverse over reverse", "reverse over forward"])
def test_second_derivatives_in_every_mode(mode, size):
    taps, second = TAPS["3x3"], {}
    with jax.enable_x64(True):
        image, kernel = operands(size, taps, 2, jnp.float64)
        direction = (jnp.cos(image), jnp.cos(kernel))
        for convolve in (depthwise, library):

            def energy(x, k, convolve=convolve):
                return jnp.sum(jnp.sin(convolve(x, k, taps, stride=2)))

            def product(x, k, energy=energy):
                if mode == "forward over reverse":
                    return jax.jvp(jax.grad(energy, (0, 1)), (x, k), direction)[1]
                if mode == "reverse over reverse":
                    slope = jax.grad(energy, (0, 1))
                    return jax.grad(lambda x, k: sum(map(jnp.vdot, slope(x, k), direction)), (0, 1))(x, k)
                return jax.grad(lambda x, k: jax.jvp(energy, (x, k), direction)[1], (0, 1))(x, k)

            second[convolve] = jax.jit(product)(image, kernel)
        for mine, reference in zip(second[depthwise], second[library], strict=True):
            np.testing.assert_allclose(mine, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axes", [(0, None), (None, 2), (2, 0)])
@pytest.mark.parametrize("wanted", ["value", "image", "kernel"])
def test_vmap_equals_a_loop(axes, wanted):
    taps = TAPS["3x3"]
    pair = operands((5, 6), taps, 2)
    many = [a if axis is None else jnp.stack([a, 2 * a, -a], axis) for a, axis in zip(pair, axes, strict=True)]

    def energy(x, k):
        return jnp.sum(depthwise(x, k, taps) ** 2)

    f = {"value": lambda x, k: depthwise(x, k, taps), "image": jax.grad(energy), "kernel": jax.grad(energy, 1)}[wanted]
    single = jax.jit(f)
    loop = [single(*(a if axis is None else jnp.take(a, i, axis) for a, axis in zip(many, axes, strict=True))) for i in range(3)]
    np.testing.assert_allclose(jax.jit(jax.vmap(f, axes))(*many), jnp.stack(loop), rtol=1e-4, atol=1e-4)


def test_a_weight_that_is_not_a_number_is_not_hidden():
    image, kernel = operands((4, 4), TAPS["3x3"], 1)
    assert np.isnan(depthwise(image, kernel.at[0, 0, 0, 0].set(jnp.nan), TAPS["3x3"])).any()
