"""Gather of rows, as a primitive whose transpose is a gather too.

Autodiff would transpose a gather to a scatter, which XLA runs row by row on a CPU.
"""

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.extend.core import Primitive
from jaxtyping import Array, Shaped

from dsrna_jax.kernels.lowering import define

gather_rows_p = Primitive("gather_rows")


def gather_rows(rows: Shaped[Array, "row *rest"], index: npt.ArrayLike) -> Shaped[Array, "..."]:
    """rows[index], with zeros where the index is -1.

    Args:
      rows: [row, ...].
      index: row numbers or -1, known when tracing. No row may occur twice, which is not checked: its derivative would be wrong.
    Returns: [*index.shape, ...].
    """
    index = np.asarray(index)
    flat = gather_rows_p.bind(rows, index=tuple(index.ravel().tolist()))
    return flat.reshape(*index.shape, *rows.shape[1:])


def _gathered(rows, *, index):
    index = np.where(np.array(index) < 0, len(rows), index)
    padded = jnp.pad(rows, [(0, 1)] + [(0, 0)] * (rows.ndim - 1))
    return padded.at[index].get(mode="promise_in_bounds")


def _transpose(ct, rows, *, index):
    back = np.full(rows.aval.shape[0], -1)
    for position, row in enumerate(index):
        if row >= 0:
            back[row] = position
    return gather_rows_p.bind(ct, index=tuple(back.tolist()))


def _batched(operands, axes, *, index):
    return gather_rows_p.bind(jnp.moveaxis(operands[0], axes[0], 1), index=index), 1


def _abstract(rows, *, index):
    return rows.update(shape=(len(index), *rows.shape[1:]))


define(gather_rows_p, _gathered, _abstract, _batched, static=("index",), transposes=(_transpose,))
