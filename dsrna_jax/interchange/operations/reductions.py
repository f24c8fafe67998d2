"""ONNX operations that reduce axes."""

import jax
import jax.numpy as jnp
import numpy as np

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


def _l2(x, axis, keepdims):
    return jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=keepdims))


def _log_sum(x, axis, keepdims):
    return jnp.log(jnp.sum(x, axis=axis, keepdims=keepdims))


OPERATIONS = {
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
