"""Scatters: x.at[...].set, add, subtract, multiply, max and min."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Linear, Node
from dsrna_jax.bounds.known import is_known
from dsrna_jax.bounds.rules.affine import moving
from dsrna_jax.bounds.rules.building import rewritten, values
from dsrna_jax.kernels.equations import evaluated


def overwrite(tracer, primitive, operands, params, axes):
    """The rule of scatter: overwriting entries by constants is a product with zeros and ones.

    Raises: NotImplementedError if bounded values go to indices that may repeat, so that one of several is written.
    """
    target, indices, updates = operands
    if isinstance(updates, Node):
        if len(_rounds(tracer, primitive, operands, params)) > 1:
            raise _repeats(tracer, primitive)
        unique = params | {"unique_indices": True}  # else JAX does not transpose it
        return moving(0, 2, structural=False)(tracer, primitive, operands, unique, axes)
    (kept,) = evaluated(primitive, [jnp.ones_like(target.value), indices, jnp.zeros_like(updates)], params)
    return [_scaled(tracer, target, kept, None, evaluated(primitive, values(operands), params)[0], axes)]


def multiply(tracer, primitive, operands, params, axes):
    """The rule of scatter-mul."""
    target, indices, updates = operands
    if isinstance(updates, Node):
        return combine(jnp.multiply, jnp.prod, 1)(tracer, primitive, operands, params, axes)
    (factor,) = evaluated(primitive, [jnp.ones_like(target.value), indices, updates], params)
    return [_scaled(tracer, target, factor, 1, evaluated(primitive, values(operands), params)[0], axes)]


def subtract(target, indices, updates, *, dimension_numbers, indices_are_sorted, unique_indices, mode, **_):
    """The primitive scatter-sub, by scatter-add."""
    options = {"indices_are_sorted": indices_are_sorted, "unique_indices": unique_indices, "mode": mode}
    return lax.scatter_add(target, indices, -updates, dimension_numbers, **options)


def combine(function, reduce, neutral=None):
    """The rule of scatter-max, scatter-min and scatter-mul: a choice by a mask of the entries that are written to.

    Values that go to one entry are written in as many rounds, which `reduce` combines. An entry that a round leaves out counts
    as `neutral`, by default as the value of the first round.
    """

    def rule(tracer, primitive, operands, params, axes):
        target, indices, updates = operands
        shape, dtype = np.shape(values(operands)[0]), values(operands)[0].dtype
        options = {"dimension_numbers": params["dimension_numbers"], "mode": params["mode"]}
        zeros = jnp.zeros(shape, dtype)
        rounds = _rounds(tracer, primitive, operands, params)

        def placed(d):
            return jax.vmap(lambda own: lax.scatter_add(zeros, indices, jnp.where(own, d, 0), **options))(rounds)

        mask = placed(jnp.ones(np.shape(values(operands)[2]), dtype)) > 0
        if isinstance(updates, Node):
            written = tracer.node(Linear(placed, placed, increasing=True), (updates,), placed(updates.value), axes[0] + 1)
        else:
            written = placed(updates)
        other = [tracer.other_batch if i == axes[0] else n for i, n in enumerate(shape)]
        shapes = {id(target): other, id(mask): [len(rounds), *other], id(written): [len(rounds), *other]}
        tracer.other_shapes |= {key: tuple(shape) for key, shape in shapes.items()}

        def combined(x, written, mask):
            others = written[:1] if neutral is None else jnp.asarray(neutral, dtype)
            y = written[0] if len(rounds) == 1 else reduce(jnp.where(mask, written, others), 0)
            return jnp.where(mask[0], function(x, y), x)

        return tracer.inline(combined, target, written, mask)

    return rule


def _scaled(tracer, target, factor, terms, value, axes):
    def power(q):
        return lambda r: r * jnp.abs(factor) ** q

    operation = Linear(lambda d: d * factor, power(1), terms=terms, power=power, singleton=True)
    return tracer.node(operation, (target,), value, axes[0])


def _repeats(tracer, primitive):
    return NotImplementedError(f"no bounds of {primitive.name} of bounded values to indices that may repeat{tracer.where}")


def _rounds(tracer, primitive, operands, params):
    """The updates that each of several rounds writes, so that none writes to an entry twice: truth values [round, *updates].

    Raises: NotImplementedError for indices that may repeat and are not known while tracing.
    """
    target, indices, updates = values(operands)
    shape = np.shape(updates)
    if params["unique_indices"]:
        return np.ones((1, *shape), bool)
    if not is_known(indices) or np.size(target) >= 2**24:  # places are counted in float32
        raise _repeats(tracer, primitive)
    options = {"dimension_numbers": params["dimension_numbers"], "mode": params["mode"]}
    with jax.ensure_compile_time_eval():
        places = 1 + jnp.arange(np.size(target), dtype=jnp.float32).reshape(np.shape(target))
        like = jnp.zeros(shape, jnp.float32)
        read = jax.linear_transpose(lambda d: lax.scatter_add(0 * places, indices, d, **options), like)
        place = np.asarray(read(places)[0]).reshape(-1)  # of every update; 0 if it is dropped
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], place[order])
    number = np.zeros(len(place), int)
    number[order] = np.arange(len(place)) - first
    number[place == 0] = 0
    return (number == np.arange(np.max(number, initial=0) + 1)[:, None]).reshape(-1, *shape)


def dropping(rule):
    """The rule, for updates that leave the target: XLA drops them by default, which the transposed operation does not."""

    def of_known_mode(tracer, primitive, operands, params, axes):
        if params["mode"] == lax.GatherScatterMode.PROMISE_IN_BOUNDS:
            params = params | {"mode": lax.GatherScatterMode.FILL_OR_DROP}
        return rule(tracer, primitive, operands, params, axes)

    return of_known_mode


def _writes(target, indices, updates, **_):
    return 1 + np.size(updates) // np.shape(target)[0]


RULES = {
    "scatter": dropping(overwrite),
    "scatter-add": dropping(moving(0, 2, structural=False, terms=_writes)),
    "scatter-sub": rewritten(subtract),
    "scatter-mul": dropping(multiply),
    "scatter-max": dropping(combine(jnp.maximum, jnp.max)),
    "scatter-min": dropping(combine(jnp.minimum, jnp.min)),
}
