"""The 1×1 convolution against `dot_general`, with its derivatives of every order and mode, and its bounds."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.kernels.pointwise import pointwise

GENERATOR = np.random.default_rng(0)
IMAGE, KERNEL = GENERATOR.normal(size=(2, 3, 4, 2, 3, 5)), GENERATOR.normal(size=(2, 3, 6, 4))


def plain(image, kernel):
    return jnp.einsum("...dc,...cbhw->...dbhw", kernel, image)


def energy(f):
    return lambda image, kernel: jnp.sum(jnp.sin(f(image, kernel)))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def assert_equal(results, image=IMAGE, kernel=KERNEL):
    """`results(f)` of an image and a kernel are alike for both convolutions f."""
    ours, theirs = jax.jit(lambda *operands: [results(f)(*operands) for f in (pointwise, plain)])(image, kernel)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-10)


def value_and_gradients(f):
    return lambda image, kernel: (f(image, kernel), jax.grad(energy(f), (0, 1))(image, kernel))


def test_value_and_gradients_equal_those_of_einsum():
    assert_equal(value_and_gradients)


def test_hessian_vector_products_equal_those_of_einsum():
    """Hessian-vector products, reverse over reverse and forward over reverse, mixed ones too."""
    direction = (GENERATOR.normal(size=IMAGE.shape), GENERATOR.normal(size=KERNEL.shape))

    def products(f):
        gradient = jax.grad(energy(f), (0, 1))
        inner = lambda *a: sum(jnp.vdot(g, d) for g, d in zip(gradient(*a), direction, strict=True))  # noqa: E731
        return lambda *operands: (jax.jvp(gradient, operands, direction)[1], jax.grad(inner, (0, 1))(*operands))

    assert_equal(products)


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (2, 0), (5, None)])
def test_vmap_over_any_axis_equals_einsum(axes):
    image = np.stack([IMAGE, 2 * IMAGE, -IMAGE], axis=axes[0]) if axes[0] is not None else IMAGE
    kernel = np.stack([KERNEL, 3 * KERNEL, -KERNEL], axis=axes[1]) if axes[1] is not None else KERNEL
    assert_equal(lambda f: jax.vmap(value_and_gradients(f), axes), image, kernel)


def test_one_kernel_serves_a_stack():
    assert_equal(value_and_gradients, kernel=KERNEL[0, 0])


def test_bounds_are_those_of_the_product():
    image, kernel = IMAGE[0, 0].swapaxes(0, 1)[:, :, None], KERNEL[0, 0]  # [batch, channel, 1, height, width]

    def bounded(f):
        def g(x):
            return f(jnp.moveaxis(x, 0, 1)[:, :, 0], kernel)[:, :, 0, 0].T

        return quick(lambda image: bounds.bound(g, image, radius=0.1, norm="linf", method="crown"))(image)

    chex.assert_trees_all_close(*(tuple(bounded(f)) for f in (pointwise, plain)), rtol=1e-10, atol=1e-10)
