"""The entries of windows against `lax.reduce_window`, and the transpose of the linear map that gives them."""

import jax
import jax.numpy as jnp
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
X = jnp.asarray(RNG.normal(size=(4, 7, 8)), jnp.float32)


@grids
def test_the_maximum_over_entries_equals_reduce_window(grid):
    expected = lax.reduce_window(X, -1e9, lax.max, *(grid[part] for part in PARTS))
    np.testing.assert_array_equal(windows(X, -1e9, **grid).max(0), expected)


@grids
def test_the_transpose_is_the_adjoint_and_its_transpose_gives_the_entries(grid):
    def entries(x):
        return windows(x, 0, **grid)

    y = jnp.asarray(RNG.normal(size=entries(X).shape), jnp.float32)
    back = jax.linear_transpose(entries, X)
    np.testing.assert_allclose((entries(X) * y).sum(), (X * back(y)[0]).sum(), rtol=1e-4, atol=1e-4)
    forth = jax.linear_transpose(lambda y: back(y)[0], y)
    np.testing.assert_array_equal(forth(X)[0], entries(X))


@grids
def test_vmap_over_any_axis_equals_a_loop(grid):
    several = jnp.asarray(RNG.normal(size=(4, 7, 3, 8)), jnp.float32)
    mapped = jax.vmap(lambda x: windows(x, 0, **grid), 2, 1)(several)
    np.testing.assert_array_equal(mapped, jnp.stack([windows(several[:, :, i], 0, **grid) for i in range(3)], 1))
    rows = jax.jacrev(lambda x: windows(x, 0, **grid))(X)  # maps the transpose
    np.testing.assert_allclose(jnp.tensordot(rows, X, 3), windows(X, 0, **grid), rtol=1e-6)
