"""Gathers of entries at constant indices; `places` has those at places that depend on the input."""

from jax import lax

from dsrna_jax.bounds.graph import Predicate
from dsrna_jax.bounds.rules.affine import moving
from dsrna_jax.bounds.rules.building import values
from dsrna_jax.bounds.rules.comparisons import indicator, true_above_half
from dsrna_jax.kernels.equations import evaluated

_CLIP, _FILL, _PROMISE = (getattr(lax.GatherScatterMode, name) for name in ("CLIP", "FILL_OR_DROP", "PROMISE_IN_BOUNDS"))


def gather(tracer, primitive, operands, params, axes):
    """The rule of gather.

    A slice that leaves the operand is moved into it by default; here so it is by the transposed operation, which would drop it.
    What `fill_value` fills does not deviate.
    """
    if params["mode"] == _PROMISE:
        params = params | {"mode": _CLIP}
    is_filled = params["mode"] == _FILL
    if is_filled and isinstance(operands[0], Predicate):
        return _filled_truth(tracer, primitive, operands, params, axes)
    of_deviations = params | {"fill_value": 0} if is_filled else None
    return moving(0, shares=_shares, of_deviations=of_deviations)(tracer, primitive, operands, params, axes)


def _filled_truth(tracer, primitive, operands, params, axes):
    truth, indices = operands
    value = evaluated(primitive, values(operands), params)[0]
    if truth.outcome is not None:
        return [value]
    numbers = indicator(tracer, truth, truth.difference.batch_axis, truth.difference.value.dtype)
    params = params | {"fill_value": float(params["fill_value"] is None or params["fill_value"])}
    (result,) = gather(tracer, primitive, [numbers, indices], params, axes)
    return [true_above_half(tracer, result, value)]


def _shares(x, indices, **_):
    """Every slice may hold the same entry."""
    return indices.size // indices.shape[-1]


RULES = {"gather": gather}
