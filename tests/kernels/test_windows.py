"""The entries of windows against `lax.reduce_window`, and the transpose of the linear map that gives them."""

import jax
import numpy as np
import pytest
from jax import lax

from dsrna_jax.kernels.windows import windows

PARTS = ("window", "strides", "padding", "base_dilation", "dilation")
GRIDS = [
    ((1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1)), (1, 1, 1), (1, 1, 1)),
    ((1, 2, 3), (1, 1, 2), ((0, 0), (0, 1), (2, 1)), (1, 2, 1), (1, 2, 1)),
    ((2, 2, 2), (2, 1, 3), ((1, 0), (0, 0), (1, 2)), (1, 1, 2), (1, 1, 2)),
]
grids = pytest.mark.parametrize("grid", [dict(zip(PARTS, grid, strict=True)) for grid in GRIDS])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 7, 8)).astype(np.float32)


@grids
def test_the_maximum_over_entries_equals_reduce_window(grid):
    @jax.jit
    def maxima(x):
        return windows(x, -1e9, **grid).max(0), lax.reduce_window(x, -1e9, lax.max, *(grid[part] for part in PARTS))

    np.testing.assert_array_equal(*maxima(X))


@grids
def test_the_transpose_is_the_adjoint_and_its_transpose_gives_the_entries(grid):
    def entries(x):
        return windows(x, 0, **grid)

    @jax.jit
    def results(x, y):
        back = jax.linear_transpose(entries, x)
        forth = jax.linear_transpose(lambda y: back(y)[0], y)
        return entries(x), back(y)[0], forth(x)[0]

    y = RNG.normal(size=jax.eval_shape(entries, X).shape).astype(np.float32)
    of_x, of_y, twice = map(np.asarray, results(X, y))
    np.testing.assert_allclose((of_x * y).sum(), (X * of_y).sum(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(twice, of_x)


@grids
def test_vmap_over_any_axis_equals_a_loop(grid):
    def entries(x):
        return windows(x, 0, **grid)

    several = RNG.normal(size=(4, 7, 3, 8)).astype(np.float32)
    mapped, *loop = jax.jit(lambda xs: [jax.vmap(entries, 2, 1)(xs), *(entries(xs[:, :, i]) for i in range(3))])(several)
    np.testing.assert_array_equal(mapped, np.stack(loop, 1))
    whole, rows = jax.jit(lambda x: (entries(x), jax.jacrev(entries)(x)))(X)  # maps the transpose
    np.testing.assert_allclose(np.tensordot(rows, X, 3), whole, rtol=1e-6)
