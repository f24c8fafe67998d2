"""ONNX operations that read or write entries at constant indices: Gather and Scatter in all forms."""

import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation, axis_is_no_batch, axis_of


def _gather(node, x, indices):
    axis = axis_of(node, x.ndim, 0)
    places = _counted(indices, x.shape[axis])
    if places.ndim == 0:
        return x[(slice(None),) * axis + (int(places),)]
    return jnp.take(x, places, axis)


def _counted(indices, lengths) -> np.ndarray:
    """Indices, which may be negative, counted from 0. Raises: InputError if one is beyond its axis."""
    places = np.where(indices < 0, indices + lengths, indices)
    if np.any(places < 0) or np.any(places >= lengths):
        raise InputError(f"indices {np.ravel(indices)[:5].tolist()} beyond an axis of {np.ravel(lengths).tolist()}")
    return places.astype(np.int32)


def _gather_elements(node, x, indices):
    axis = axis_of(node, x.ndim, 0)
    return x[_each_along(axis, _counted(indices, x.shape[axis]))]


def _gather_slices(node, x, indices):
    ahead = node.get("batch_dims", 0)
    tuples = _counted(indices, np.array(x.shape[ahead : ahead + indices.shape[-1]]))
    return x[(*_along_all(tuples.shape[:ahead], tuples.ndim - 1), *np.moveaxis(tuples, -1, 0))]


def _scatter_elements(node, x, indices, updates):
    axis = axis_of(node, x.ndim, 0)
    return _written(node, x, _each_along(axis, _counted(indices, x.shape[axis])), updates)


def _scatter_slices(node, x, indices, updates):
    return _written(node, x, tuple(np.moveaxis(_counted(indices, np.array(x.shape[: indices.shape[-1]])), -1, 0)), updates)


def _each_along(axis, places):
    """Indices of entries: `places` along one axis, and their own along the others."""
    own = _along_all(places.shape, places.ndim)
    return (*own[:axis], places, *own[axis + 1 :])


def _along_all(lengths, rank):
    """The place along each of the first axes, each of rank `rank`."""
    return [np.arange(n).reshape(-1, *[1] * (rank - axis - 1)) for axis, n in enumerate(lengths)]


def _written(node, x, places, updates):
    """x with updates written at indices of entries. Raises: InputError for an unknown reduction."""
    at = jnp.asarray(x, jnp.result_type(x, updates)).at[places]
    how = {"none": at.set, "add": at.add, "mul": at.multiply, "max": at.max, "min": at.min}
    reduction = node.get("reduction", "none")
    if reduction not in how:
        raise InputError(f"reduction={reduction!r}: expected one of {', '.join(how)}")
    return how[reduction](updates)


OPERATIONS = {
    "Gather": OnnxOperation(_gather, axis_is_no_batch, static=(1,)),
    "GatherElements": OnnxOperation(_gather_elements, static=(1,)),
    "GatherND": OnnxOperation(_gather_slices, static=(1,)),
    "ScatterElements": OnnxOperation(_scatter_elements, static=(1,)),
    "ScatterND": OnnxOperation(_scatter_slices, static=(1,)),
}
