"""`depthwise` against XLA's convolution, and its derivatives of every order and mode against those of XLA's convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsrna_jax.kernels import fused_depthwise
from dsrna_jax.kernels.depthwise import depthwise, square_taps

TAPS = {
    "3x3": square_taps(3),
    "dilated": square_taps(3, 2),
    "both": tuple(sorted({*square_taps(3), *square_taps(5, 2)})),
}


def operands(size, taps, multiples, dtype=np.float32):
    draw = np.random.default_rng(0).normal
    return draw(size=(2, 3, 4, *size)).astype(dtype), draw(size=(len(taps), 2, multiples, 3)).astype(dtype)


def library(image, kernel, taps, *, stride=1):
    """Depthwise convolution by XLA's own; taps become entries of one square kernel."""
    (groups, channels, batch, *size), multiples = image.shape, kernel.shape[2]
    margin = max(abs(offset) for tap in taps for offset in tap)
    filters = jnp.zeros((2 * margin + 1, 2 * margin + 1, *kernel.shape[1:]), kernel.dtype)
    for tap, (row, column) in enumerate(taps):
        filters = filters.at[margin + row, margin + column].set(kernel[tap])
    filters = jnp.transpose(filters, (2, 4, 3, 0, 1)).reshape(-1, 1, *filters.shape[:2])
    flat = jnp.moveaxis(image, 2, 0).reshape(batch, groups * channels, *size)
    borders = [(margin, margin)] * 2
    result = lax.conv_general_dilated(flat, filters, (stride, stride), borders, feature_group_count=groups * channels)
    return jnp.transpose(result.reshape(batch, groups, channels, multiples, *result.shape[-2:]), (1, 3, 2, 0, 4, 5))


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
        image, kernel = operands(size, taps, 2, np.float64)
        direction = (np.cos(image), np.cos(kernel))
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
    many = [a if axis is None else np.stack([a, 2 * a, -a], axis) for a, axis in zip(pair, axes, strict=True)]

    def energy(x, k):
        return jnp.sum(depthwise(x, k, taps) ** 2)

    f = {"value": lambda x, k: depthwise(x, k, taps), "image": jax.grad(energy), "kernel": jax.grad(energy, 1)}[wanted]
    single = jax.jit(f)
    loop = [single(*(a if axis is None else np.take(a, i, axis) for a, axis in zip(many, axes, strict=True))) for i in range(3)]
    np.testing.assert_allclose(jax.jit(jax.vmap(f, axes))(*many), np.stack(loop), rtol=1e-4, atol=1e-4)


def test_a_weight_that_is_not_a_number_is_not_hidden():
    image, kernel = operands((4, 4), TAPS["3x3"], 1)
    kernel[0, 0, 0, 0] = np.nan
    assert np.isnan(depthwise(image, kernel, TAPS["3x3"])).any()


SUPPORTS = {
    "all": ((tuple(range(25)),) * 3,) * 2,
    "by kernel": (((0, 6, 12), (0, 6, 12), (3, 4, 12, 20, 24)),) * 2,
    "by group": (((5,), (7, 9), (7, 9)), ((0, 24), (12,), (0, 24))),
}


@pytest.mark.parametrize(
    "name, size, stride",
    [
        pytest.param(name, *grid, marks=pytest.mark.slow if (name == "all") == (grid[1] == 1) else [])
        for name in SUPPORTS
        for grid in (((6, 5), 1), ((7, 6), 2))
    ],
)
def test_the_form_for_accelerators_equals_that_for_cpus_within_the_support_of_each_kernel(name, size, stride):
    taps, support = square_taps(5), SUPPORTS[name]
    image, kernel = operands(size, taps, 3)
    is_used = np.zeros(kernel.shape, bool)
    for group, multiple in np.ndindex(2, 3):
        is_used[list(support[group][multiple]), group, multiple] = True
    kernel = np.where(is_used, kernel, 0)
    y, by_image, by_kernel = value_and_gradients(depthwise, taps, stride, image, kernel)
    grid = {"taps": taps, "stride": stride, "size": size, "support": support}

    @jax.jit
    def solved(image, kernel, slope):
        return (
            fused_depthwise.output(image, kernel, **grid),
            fused_depthwise.image(slope, kernel, **grid),
            fused_depthwise.kernel(image, slope, **grid),
        )

    ours = solved(image, kernel, np.cos(y))
    for mine, reference in zip(ours, (y, by_image, np.where(is_used, by_kernel, 0)), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("of", [0, 1])
def test_an_accelerator_gets_no_convolution_whose_maps_are_transposed_for_it(of):
    taps = TAPS["both"]
    image, kernel = operands((6, 5), taps, 2)
    support = [[0, 1], [1, 2, 3]]
    gradient = jax.jit(jax.vmap(jax.grad(lambda x, k: (depthwise(x, k, taps, support=support) ** 2).sum(), of)))
    text = gradient.trace(image[None], kernel[None]).lower(lowering_platforms=("cuda",)).as_text()
    assert "convolution" not in text and "dot_general" not in text


def test_a_support_is_given_for_each_kernel():
    image, kernel = operands((6, 5), TAPS["3x3"], 3)
    with pytest.raises(ValueError, match="3 kernels, or of 6; got 2"):
        depthwise(image, kernel, TAPS["3x3"], support=[[0], [1]])
