"""Precision of matrix products: full in bounds, on every platform; elsewhere that of the call."""

import jax
import numpy as np
import pytest
from jax import lax

from dsrna_jax import bounds, genotypes
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.derived import derived_network

X = np.zeros((2, 8, 8, 1), np.float32)
CELL = (("sep_conv_3x3", 0), ("max_pool_3x3", 1), ("dil_conv_5x5", 0), ("skip_connect", 2))


def products(f, platform):
    """The matrix products and convolutions that f(X) is lowered to, line by line."""
    program = jax.jit(f).trace(X).lower(lowering_platforms=(platform,)).as_text()
    lines = [line for line in program.splitlines() if "stablehlo.dot" in line or "stablehlo.convolution" in line]
    assert lines
    return lines


def logits_fn():
    """A derived network, and a plain convolution beside it."""
    net = derived_network(
        genotypes.Genotype(CELL, (2, 3), CELL, (2, 3)), cells=3, channels=4, classes=3, mean=(0.5,), std=(0.25,)
    )
    variables = jax.eval_shape(net.init, jax.random.key(0), X)
    variables = jax.tree.map(lambda v: np.ones(v.shape, v.dtype), variables)
    kernel = np.ones((3, 3, 1, 2), np.float32)

    def logits(x):
        y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return net.apply(variables, x) + y.reshape(len(x), -1)[:, :3]

    return logits


@pytest.mark.parametrize("platform", [pytest.param("cpu", marks=pytest.mark.slow), "cuda"])
@pytest.mark.parametrize("method", [pytest.param("ibp", marks=pytest.mark.slow), "crown_ibp"])
@pytest.mark.parametrize("result", ["bound", pytest.param("margin and gradient", marks=pytest.mark.slow)])
def test_bounds_compute_every_product_in_full_precision(method, platform, result):
    """TF32, the default on GPUs, rounds by 1e-3, while bounds are widened by 1e-5."""
    logits = logits_fn()
    of = {
        "margin and gradient": jax.value_and_grad(
            lambda x: bounds.margin(logits, x, np.zeros(2, int), radius=0.01, method=method).sum()
        ),
        "bound": lambda x: bounds.bound(logits, x, radius=0.01, method=method),
    }
    assert [line for line in products(of[result], platform) if "HIGHEST" not in line] == []


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_a_network_uses_the_precision_in_force_at_its_call(platform):
    logits = logits_fn()

    def precise(x):
        with jax.default_matmul_precision("highest"):
            return logits(x)

    gradient = lambda f: jax.grad(lambda x: f(x).sum())  # noqa: E731
    for f in (precise, gradient(precise)):
        assert all("HIGHEST" in line for line in products(f, platform))
    if platform != "cpu":
        for f in (logits, gradient(logits)):
            assert not any("HIGHEST" in line for line in products(f, platform))


def test_on_a_cpu_all_precisions_lower_to_one_program():
    """So that XLA can merge the products of a network with those of the centre of its bounds: it merges equal precisions only."""

    def program(precision):
        with jax.default_matmul_precision(precision):
            operands = (np.ones(shape, np.float32) for shape in ((1, 2, 2, 4, 4), (9, 1, 1, 2), (3, 2)))
            f = lambda x, filters, kernel: pointwise(depthwise(x, filters, square_taps(3))[:, 0], kernel)  # noqa: E731
            return jax.jit(f).trace(*operands).lower(lowering_platforms=("cpu",)).as_text()

    assert program(None) == program("highest")
