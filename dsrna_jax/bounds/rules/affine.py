"""Operations that are affine in their bounded operands and have no weights: sums, and those that move entries about."""

import dataclasses
import functools

import jax.numpy as jnp

from dsrna_jax.bounds.graph import Linear, Node, Predicate
from dsrna_jax.bounds.jaxprs import evaluated
from dsrna_jax.bounds.rules.building import linear, nodes_of, rewritten, values


def moving(*data, structural=True, singleton=False):
    """The rule of primitives that move or sum entries.

    data: places of the operands that hold entries, the first by default; constants among them deviate by 0. All other operands
      are indices and the like. structural, singleton: as in `graph.Linear`.
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
        kinds = {"structural": structural and len(nodes_of(operands)) == 1, "singleton": singleton}
        return linear(tracer, primitive, operands, params, axes, constants, lambda q: constants, **kinds)

    return rule


def elementwise_sum(sign):
    """The rule of add (sign 1) and sub (sign -1); a constant operand leaves the other's deviation as it is, but for its sign."""

    def rule(tracer, primitive, operands, params, axes):
        value = evaluated(primitive, values(operands), params)[0]
        signs = [s for s, o in zip((1, sign), operands, strict=True) if isinstance(o, Node)]
        parents = nodes_of(operands)

        def spread(d):
            return jnp.broadcast_to(d, value.shape)

        def deviation(*deviations):
            return functools.reduce(jnp.add, [spread(d) if s > 0 else -spread(d) for s, d in zip(signs, deviations, strict=True)])

        def magnitude(*radii):
            return functools.reduce(jnp.add, map(spread, radii))

        single = len(parents) == 1 and parents[0].value.shape == value.shape
        operation = Linear(deviation, magnitude, structural=single and signs == [1], singleton=single, power=lambda q: magnitude)
        return [tracer.node(operation, parents, value, axes[0])]

    return rule


def identity(tracer, primitive, operands, params, axes):
    """The rule of primitives that return their operands."""
    return list(operands)


RULES = {
    "add": elementwise_sum(1),
    "add_any": elementwise_sum(1),
    "sub": elementwise_sum(-1),
    "neg": rewritten(lambda x: -1 * x),
    "rev": moving(0, singleton=True),
    "tile": moving(0, structural=True),
    "split": moving(0, structural=True),
    "unstack": moving(0, structural=True),
    "gather": moving(0, structural=True),
    "dynamic_slice": moving(0, structural=True),
    "cumsum": moving(0, structural=False),
    "reduce_sum": moving(0, structural=False),
    "reduce_window_sum": moving(0, structural=False),
    "dynamic_update_slice": moving(0, 1, structural=False),
    "pad": moving(0, 1, singleton=True),
    **dict.fromkeys(("reshape", "transpose", "squeeze", "expand_dims", "slice"), moving(0, singleton=True)),
    **dict.fromkeys(("broadcast_in_dim", "reduce_precision"), moving(0)),
    **dict.fromkeys(("concatenate", "stack"), moving(*range(1000))),
    **dict.fromkeys(
        "stop_gradient optimization_barrier copy copy_p name device_put sharding_constraint layout_constraint".split(), identity
    ),
}
