"""Rows gathered into a grid against plain indexing, with derivatives of every order and mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.kernels.gather_rows import gather_rows

ROWS = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
INDEX = np.array([[3, -1, 0], [-1, 4, 2]])  # row 1 is not gathered


def plain(rows):
    return jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]))])[INDEX]


def mapped(f, rows, axis):
    return jax.vmap(f, axis, axis)(jnp.stack([rows, 2 * rows, -rows], axis))


@pytest.mark.parametrize(
    "apply",
    [
        lambda f, rows: f(rows),
        lambda f, rows: jax.jvp(f, (rows,), (rows[::-1],))[1],
        lambda f, rows: jax.grad(lambda r: jnp.sum(jnp.sin(f(r))))(rows),
        lambda f, rows: jax.jvp(jax.grad(lambda r: jnp.sum(jnp.sin(f(r)))), (rows,), (rows[::-1],))[1],
        lambda f, rows: mapped(f, rows, 0),
        lambda f, rows: mapped(jax.grad(lambda r: jnp.sum(jnp.sin(f(r)))), rows, 2),
    ],
)
def test_values_and_derivatives_equal_those_of_indexing(apply):
    ours, theirs = jax.jit(lambda rows: [apply(f, rows) for f in (lambda r: gather_rows(r, INDEX), plain)])(ROWS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_no_derivative_scatters():
    program = jax.jit(jax.grad(lambda r: jnp.sum(jnp.sin(gather_rows(r, INDEX))))).lower(ROWS).as_text()
    assert "gather" in program and "scatter" not in program
