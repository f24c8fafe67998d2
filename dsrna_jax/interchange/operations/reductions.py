"""ONNX operations that reduce axes, or sum along them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.interchange.operations.registry import OnnxOperation, axes_of, counted


def _axes(node, rank, axes):
    given = node.get("axes", axes)
    if given is None or np.size(given) == 0:
        return () if node.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(counted(int(axis), rank) for axis in np.ravel(given))


def _reduced(function) -> OnnxOperation:
    def apply(node, x, axes=None):
        return function(x, axis=_axes(node, x.ndim, axes), keepdims=bool(node.get("keepdims", 1)))

    return OnnxOperation(apply, _keeps_batch, static=(1,))


def _keeps_batch(node, operands):
    x = operands[0]
    return x.is_batched and 0 not in _axes(node, len(x.shape), axes_of(node, operands, 1, len(x.shape)))


def _running_sum(node, x, axis):
    axis = counted(int(np.ravel(axis)[0]), x.ndim)
    sums = lax.cumsum(x, axis, reverse=bool(node.get("reverse", 0)))
    if not node.get("exclusive", 0):
        return sums
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (-1, 1, 0) if node.get("reverse", 0) else (1, -1, 0)  # moved by one entry, the first of which is 0
    return lax.pad(sums, np.zeros((), x.dtype), widths)


def _runs_along_examples(node, operands):
    return operands[0].is_batched and counted(int(np.ravel(operands[1].constant)[0]), len(operands[0].shape)) > 0


def _l2(x, axis, keepdims):
    return jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=keepdims))


def _log_sum(x, axis, keepdims):
    return jnp.log(jnp.sum(x, axis=axis, keepdims=keepdims))


OPERATIONS = {
    "CumSum": OnnxOperation(_running_sum, _runs_along_examples, static=(1,)),
    "ReduceL1": _reduced(lambda x, axis, keepdims: jnp.sum(jnp.abs(x), axis=axis, keepdims=keepdims)),
    "ReduceL2": _reduced(_l2),
    "ReduceLogSum": _reduced(_log_sum),
    "ReduceLogSumExp": _reduced(lambda x, axis, keepdims: jax.nn.logsumexp(x, axis=axis, keepdims=keepdims)),
    "ReduceMax": _reduced(jnp.max),
    "ReduceMean": _reduced(jnp.mean),
    "ReduceMin": _reduced(jnp.min),
    "ReduceProd": _reduced(jnp.prod),
    "ReduceSum": _reduced(jnp.sum),
    "ReduceSumSquare": _reduced(lambda x, axis, keepdims: jnp.sum(x * x, axis=axis, keepdims=keepdims)),
}
