"""Scatters: x.at[...].set, add, subtract, multiply, max and min."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Linear, Node
from dsrna_jax.bounds.jaxprs import evaluated
from dsrna_jax.bounds.known import is_known
from dsrna_jax.bounds.rules.affine import moving
from dsrna_jax.bounds.rules.building import rewritten, values


def overwrite(tracer, primitive, operands, params, axes):
    """The rule of scatter: overwriting entries by constants is a product with zeros and ones."""
    target, indices, updates = operands
    if isinstance(updates, Node):
        _check_unique(tracer, primitive, operands, params)
        return moving(0, 2, structural=False)(tracer, primitive, operands, params, axes)
    (kept,) = evaluated(primitive, [jnp.ones_like(target.value), indices, jnp.zeros_like(updates)], params)
    return [_scaled(tracer, target, kept, None, evaluated(primitive, values(operands), params)[0], axes)]


def multiply(tracer, primitive, operands, params, axes):
    """The rule of scatter-mul."""
    target, indices, updates = operands
    if isinstance(updates, Node):
        return combine(jnp.multiply)(tracer, primitive, operands, params, axes)
    (factor,) = evaluated(primitive, [jnp.ones_like(target.value), indices, updates], params)
    return [_scaled(tracer, target, factor, 1, evaluated(primitive, values(operands), params)[0], axes)]


def subtract(target, indices, updates, *, dimension_numbers, indices_are_sorted, unique_indices, mode, **_):
    """The primitive scatter-sub, by scatter-add."""
    options = {"indices_are_sorted": indices_are_sorted, "unique_indices": unique_indices, "mode": mode}
    return lax.scatter_add(target, indices, -updates, dimension_numbers, **options)


def combine(function):
    """The rule of scatter-max and scatter-min: a choice by a mask of the entries that are written to."""

    def rule(tracer, primitive, operands, params, axes):
        target, indices, updates = operands
        shape, dtype = np.shape(values(operands)[0]), values(operands)[0].dtype
        options = {"dimension_numbers": params["dimension_numbers"], "mode": params["mode"]}
        zeros = jnp.zeros(shape, dtype)
        _check_unique(tracer, primitive, operands, params)

        def placed(d):
            return lax.scatter_add(zeros, indices, d, **options)

        mask = placed(jnp.ones(np.shape(values(operands)[2]), dtype)) > 0
        if isinstance(updates, Node):
            written = tracer.node(Linear(placed, placed, increasing=True), (updates,), placed(updates.value), axes[0])
        else:
            written = placed(updates)
        constants = [c for c in (mask, written, target) if not isinstance(c, Node)]
        other = [tracer.other_batch if i == axes[0] else n for i, n in enumerate(shape)]
        tracer.other_shapes |= {id(c): tuple(other) for c in constants}
        return tracer.inline(lambda x, y, mask: jnp.where(mask, function(x, y), x), target, written, mask)

    return rule


def _scaled(tracer, target, factor, terms, value, axes):
    def power(q):
        return lambda r: r * jnp.abs(factor) ** q

    operation = Linear(lambda d: d * factor, power(1), terms=terms, power=power, singleton=True)
    return tracer.node(operation, (target,), value, axes[0])


def _check_unique(tracer, primitive, operands, params):
    """Raises: NotImplementedError if indices may repeat, so that one of several values is written."""
    target, indices, updates = values(operands)
    if params["unique_indices"]:
        return
    if is_known(indices):
        options = {"dimension_numbers": params["dimension_numbers"], "mode": params["mode"]}
        with jax.ensure_compile_time_eval():
            counts = lax.scatter_add(jnp.zeros(np.shape(target)), indices, jnp.ones(np.shape(updates)), **options)
            if counts.max() <= 1:
                return
    raise NotImplementedError(f"no bounds of {primitive.name} of bounded values to indices that may repeat{tracer.where}")


def _writes(target, indices, updates, **_):
    return 1 + np.size(updates) // np.shape(target)[0]


RULES = {
    "scatter": overwrite,
    "scatter-add": moving(0, 2, structural=False, terms=_writes),
    "scatter-sub": rewritten(subtract),
    "scatter-mul": multiply,
    "scatter-max": combine(jnp.maximum),
    "scatter-min": combine(jnp.minimum),
}
