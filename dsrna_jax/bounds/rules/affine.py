"""Operations that are affine in their bounded operands and have no weights: sums, and operations that move entries."""

import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp

from dsrna_jax.bounds.graph import Linear, Node, Predicate
from dsrna_jax.bounds.rules.building import linear, nodes_of, values
from dsrna_jax.bounds.rules.windowed.form import broadcasting, elementwise
from dsrna_jax.kernels.equations import evaluated


def moving(*data, structural=True, singleton=False, terms=None, shares=None, of_deviations=None):
    """The rule of primitives that move or sum entries.

    data: positions of the operands that hold entries, the first by default; constants among them deviate by 0. All other
      operands are indices and the like.
    structural, singleton: as in `graph.Linear`.
    terms, shares: functions of the operands' values and the parameters, for the fields of `graph.Linear`; None for its defaults.
    of_deviations: the parameters with which deviations are computed, if they are others.
    """

    def rule(tracer, primitive, operands, params, axes):
        if any(isinstance(o, Predicate) for o in operands):
            if not structural or not isinstance(operands[0], Predicate) or any(isinstance(o, Predicate) for o in operands[1:]):
                raise NotImplementedError(f"no bounds of {primitive.name} of truth values{tracer.where}")
            moved = None
            if operands[0].difference is not None:
                (moved,) = rule(tracer, primitive, [operands[0].difference, *operands[1:]], params, axes)
            (value,) = evaluated(primitive, values(operands), params)
            return [dataclasses.replace(operands[0], left=moved, right=0.0, difference=moved, value=value)]
        zero = lambda o: jnp.zeros(jnp.shape(o), jnp.result_type(o))  # noqa: E731
        constants = [zero(o) if i in (data or range(1)) and not isinstance(o, Node) else o for i, o in enumerate(operands)]
        known = {"terms": terms, "shares": shares}
        kinds: dict[str, Any] = {name: count(*values(operands), **params) for name, count in known.items() if count is not None}
        kinds |= {
            "of_deviations": of_deviations,
            "structural": structural and len(nodes_of(operands)) == 1,
            "singleton": singleton,
            "increasing": True,
        }
        return linear(tracer, primitive, operands, params, axes, constants, lambda q: constants, **kinds)

    return rule


def elementwise_sum(sign):
    """The rule of add (sign 1) and sub (sign -1); a constant operand changes at most the sign of the other's deviation."""

    def rule(tracer, primitive, operands, params, axes):
        value = evaluated(primitive, values(operands), params)[0]
        signs = [s for s, o in zip((1, sign), operands, strict=True) if isinstance(o, Node)]
        parents = nodes_of(operands)
        if signs == [1, -1]:
            (negative,) = tracer.inline(jnp.negative, operands[1])
            return tracer.inline(jnp.add, operands[0], negative)

        def spread(d):
            return jnp.broadcast_to(d, value.shape)

        def deviation(*deviations):
            return functools.reduce(jnp.add, [spread(d) if s > 0 else -spread(d) for s, d in zip(signs, deviations, strict=True)])

        def magnitude(*radii):
            return functools.reduce(jnp.add, map(spread, radii))

        single = len(parents) == 1 and parents[0].value.shape == value.shape
        pulls = [(lambda f: f.rows) if s > 0 else (lambda f: -f.rows) for s in signs]
        operation = Linear(
            deviation,
            magnitude,
            terms=0,
            shares=value.size // min(p.value.size for p in parents),
            increasing=min(signs) > 0,
            structural=single and signs == [1],
            singleton=single,
            power=lambda q: magnitude,
            windowed=broadcasting(parents, value.shape, *pulls),
        )
        return [tracer.node(operation, parents, value, axes[0])]

    return rule


def identity(tracer, primitive, operands, params, axes):
    """The rule of primitives that return their operands."""
    return list(operands)


def negative(tracer, primitive, operands, params, axes):
    """The rule of neg."""
    (x,) = operands
    windowed = elementwise(lambda functional: -functional.rows)
    operation = Linear(jnp.negative, lambda r: r, power=lambda q: lambda r: r, singleton=True, windowed=windowed)
    return [tracer.node(operation, (x,), -x.value, axes[0])]


def _repeated(x, *, shape, **_):
    return math.prod(shape) // x.size


def _summed(x, *, axes, **_):
    return math.prod(x.shape[i] for i in axes)


def _along(x, *, axis, **_):
    return x.shape[axis]


def _in_window(x, *, window_dimensions, **_):
    return math.prod(window_dimensions)


RULES = {
    "add": elementwise_sum(1),
    "add_any": elementwise_sum(1),
    "sub": elementwise_sum(-1),
    "neg": negative,
    "rev": moving(0, singleton=True),
    "tile": moving(0, structural=True, shares=lambda x, *, reps: math.prod(reps)),
    "split": moving(0, structural=True),
    "unstack": moving(0, structural=True),
    "dynamic_slice": moving(0, structural=True),
    "cumsum": moving(0, structural=False, terms=_along, shares=_along),
    "reduce_sum": moving(0, structural=False, terms=_summed),
    "reduce_window_sum": moving(0, structural=False, terms=_in_window, shares=_in_window),
    "dynamic_update_slice": moving(0, 1, structural=False),
    "pad": moving(0, 1, singleton=True),
    **dict.fromkeys(("reshape", "transpose", "squeeze", "expand_dims", "slice"), moving(0, singleton=True)),
    "broadcast_in_dim": moving(0, shares=_repeated),
    **dict.fromkeys(
        "stop_gradient optimization_barrier copy copy_p name device_put sharding_constraint layout_constraint".split(), identity
    ),
}
