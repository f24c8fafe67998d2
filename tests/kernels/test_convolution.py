"""The convolution with channels last against `lax.conv_general_dilated`, with its derivatives of every order and mode."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsrna_jax.kernels.convolution import convolution, transposed_convolution

GENERATOR = np.random.default_rng(0)
# Image, kernel, strides, padding and dilation: ordinary ones, a single tap, a single position, cropping, pixels left over.
CASES = {
    "plain": ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "strides": ((2, 7, 6, 3), (4, 2, 3, 4), (2, 3), ((1, 1), (0, 0)), (1, 1)),
    "dilation": ((2, 7, 8, 2), (2, 3, 2, 3), (1, 2), ((0, 2), (2, 1)), (2, 2)),
    "cropped": ((2, 8, 9, 2), (3, 2, 2, 3), (2, 1), ((-1, 0), (1, -2)), (1, 1)),
    "wide padding": ((2, 3, 4, 2), (2, 2, 2, 3), (1, 1), ((3, 2), (2, 4)), (1, 1)),
    "one tap": ((2, 5, 6, 3), (1, 1, 3, 4), (2, 1), ((0, 0), (1, 0)), (1, 1)),
    "one position": ((2, 5, 6, 3), (3, 4, 3, 4), (2, 2), ((1, 0), (0, 0)), (2, 1)),
    "one dimension": ((2, 7, 3), (3, 3, 2), (2,), ((1, 1),), (1,)),
    "three dimensions": ((1, 4, 3, 5, 2), (2, 3, 2, 2, 3), (1, 1, 2), ((0, 1), (1, 1), (0, 0)), (1, 1, 1)),
    "no position": ((2, 2, 5, 3), (3, 3, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),
}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def ways(case):
    """Our convolution and the library's of a case, and an image and a kernel."""
    image, kernel, strides, padding, dilation = CASES[case]
    axes = "WHD"[: len(strides)]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")

    def ours(image, kernel):
        return convolution(image, kernel, strides=strides, padding=padding, dilation=dilation)

    def theirs(image, kernel):
        return lax.conv_general_dilated(image, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers)

    return (ours, theirs), (GENERATOR.normal(size=image), GENERATOR.normal(size=kernel))


def assert_equal(results, fs, operands):
    """`results(f)` of the operands are alike for both convolutions f."""
    ours, theirs = jax.jit(lambda *operands: [results(f)(*operands) for f in fs])(*operands)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-10)


def energy(f):
    return lambda image, kernel: jnp.sum(jnp.sin(f(image, kernel)))


def value_and_gradients(f):
    return lambda image, kernel: (f(image, kernel), jax.grad(energy(f), (0, 1))(image, kernel))


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_equal_those_of_the_library(case):
    assert_equal(value_and_gradients, *ways(case))


@pytest.mark.parametrize("case", ["strides", "one tap", "one position"])
def test_hessian_vector_products_equal_those_of_the_library(case):
    """Hessian-vector products, reverse over reverse and forward over reverse, mixed ones too."""
    fs, operands = ways(case)
    direction = [GENERATOR.normal(size=o.shape) for o in operands]

    def products(f):
        gradient = jax.grad(energy(f), (0, 1))
        inner = lambda *a: sum(jnp.vdot(g, d) for g, d in zip(gradient(*a), direction, strict=True))  # noqa: E731
        return lambda *a: (jax.jvp(gradient, a, tuple(direction))[1], jax.grad(inner, (0, 1))(*a))

    assert_equal(products, fs, operands)


@pytest.mark.parametrize("axes", [(0, None), (3, None), (None, 1), (2, 0)])
def test_vmap_over_any_axis_equals_the_library(axes):
    fs, operands = ways("strides")
    operands = [o if a is None else np.stack([o, 2 * o, -o], axis=a) for o, a in zip(operands, axes, strict=True)]
    assert_equal(lambda f: jax.vmap(value_and_gradients(f), axes), fs, operands)


@pytest.mark.parametrize(
    ("shape", "taps", "spread", "padding", "dilation"),
    [
        ((2, 4, 5, 3), (2, 2), (2, 2), ((1, 1), (1, 1)), (1, 1)),
        ((2, 3, 4, 2), (3, 4), (2, 3), ((0, 3), (2, -1)), (2, 1)),
        ((2, 3, 1, 2), (1, 1), (3, 1), ((0, 2), (1, 0)), (1, 1)),
        ((2, 1, 1, 2), (3, 2), (2, 2), ((2, 2), (1, 1)), (1, 1)),
        ((2, 5, 2), (3,), (2,), ((-1, -2),), (1,)),
    ],
)
def test_convolutions_of_spread_maps_equal_those_of_the_library(shape, taps, spread, padding, dilation):
    axes = "WH"[: len(spread)]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")

    def theirs(maps, kernel):
        ones = (1,) * len(spread)
        return lax.conv_general_dilated(maps, kernel, ones, padding, spread, dilation, dimension_numbers=numbers)

    def ours(maps, kernel):
        return transposed_convolution(maps, kernel, spread=spread, padding=padding, dilation=dilation)

    operands = GENERATOR.normal(size=shape), GENERATOR.normal(size=(*taps, shape[-1], 3))
    assert_equal(value_and_gradients, (ours, theirs), operands)


def test_operands_of_different_types_are_promoted():
    (ours, theirs), (image, kernel) = ways("strides")
    narrow = kernel.astype(np.float32)
    chex.assert_trees_all_close(ours(image, narrow), theirs(image, narrow.astype(float)), rtol=1e-12, atol=1e-12)


def test_maps_of_16_bits_are_summed_in_float32():
    (ours, theirs), (image, kernel) = ways("strides")
    image, kernel = jnp.asarray(image, jnp.bfloat16), jnp.asarray(kernel, jnp.float32)
    result = ours(image, kernel)
    assert result.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(result, theirs(image.astype(jnp.float32), kernel).astype(jnp.bfloat16))
    by_image, by_kernel = jax.grad(lambda *a: ours(*a).sum().astype(float), (0, 1))(image, kernel)
    assert (by_image.dtype, by_kernel.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("case", ["plain", "strides", "dilation", "one tap", "one position"])
def test_accelerators_lower_to_convolutions_of_the_library(case):
    (ours, _), (image, kernel) = ways(case)
    f = jax.jit(jax.grad(energy(ours), (0, 1)))
    text = f.trace(image, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 3
