"""What operations that are linear in their bounded operands do: sums, and what moves entries about."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from dsrna_jax.bounds.composed import recognised
from dsrna_jax.bounds.graph import Linear, Node, Predicate
from dsrna_jax.bounds.tracing import evaluated


def values(operands):
    return [o.value if isinstance(o, Node) else o for o in operands]


def nodes_of(operands):
    return [o for o in operands if isinstance(o, Node)]


def evaluated_shape(primitive, operands, params):
    """Shape of the primitive's output."""
    return jax.eval_shape(lambda *v: evaluated(primitive, v, params)[0], *values(operands)).shape


def _call(primitive, operands, params):
    """The primitive as a function of its bounded operands, what stands for the constants given."""

    def f(*arrays, constants=tuple(operands)):
        arrays = iter(arrays)
        return evaluated(
            primitive, [next(arrays) if isinstance(o, Node) else c for o, c in zip(operands, constants, strict=True)], params
        )

    return f


def linear(tracer, primitive, operands, params, axes, constants, positive, **kinds):
    """Nodes of an operation that is linear in its bounded operands, with `constants` for the others, |.|^q by `positive`."""
    call = _call(primitive, operands, params)
    outputs = evaluated(primitive, values(operands), params)
    whole = Linear(functools.partial(call, constants=constants), lambda *r: call(*r, constants=positive(1)))

    def node(i, value, axis):
        operation = Linear(
            lambda *d: whole.deviation(*d)[i],
            lambda *r: whole.magnitude(*r)[i],
            power=lambda q: lambda r: call(r, constants=positive(q))[i],
            one_of=(i, whole) if len(outputs) > 1 else None,
            **kinds,
        )
        return tracer.node(operation, nodes_of(operands), value, axis)

    return [node(i, *pair) for i, pair in enumerate(zip(outputs, axes, strict=True))]


def moving(*data, structural=True, singleton=False):
    """Moves or sums entries; constants among the operands `data` count as zero, all others are indices and the like."""

    def rule(tracer, primitive, operands, params, axes):
        if isinstance(operands[0], Predicate):
            (moved,) = rule(tracer, primitive, [operands[0].difference], params, axes)
            return [dataclasses.replace(operands[0], left=moved, right=0.0, difference=moved)]
        zero = lambda o: jnp.zeros(jnp.shape(o), jnp.result_type(o))  # noqa: E731
        constants = [zero(o) if i in (data or range(1)) and not isinstance(o, Node) else o for i, o in enumerate(operands)]
        kinds = {"structural": structural and len(nodes_of(operands)) == 1, "singleton": singleton}
        return linear(tracer, primitive, operands, params, axes, constants, lambda q: constants, **kinds)

    return rule


def elementwise_sum(sign):
    """add and sub; with one bounded operand the deviation stays what it is, but for its sign."""

    def rule(tracer, primitive, operands, params, axes):
        if len(nodes_of(operands)) == 2 and (known := known_composition(tracer, primitive, operands, params, axes)) is not None:
            return known
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
    return list(operands)


def scatter(tracer, primitive, operands, params, axes):
    """Entries overwritten by constants are a product with 0 and 1."""
    target, indices, updates = operands
    if isinstance(updates, Node):
        if not params["unique_indices"]:
            raise NotImplementedError(f"no bounds of {primitive.name} of bounded values to indices that may repeat{tracer.where}")
        return moving(0, 2, structural=False)(tracer, primitive, operands, params, axes)
    (kept,) = evaluated(primitive, [jnp.ones_like(target.value), indices, jnp.zeros_like(updates)], params)
    (value,) = evaluated(primitive, values(operands), params)
    scaled = lambda d: d * kept  # noqa: E731
    return [tracer.node(Linear(scaled, scaled, power=lambda q: scaled, singleton=True), (target,), value, axes[0])]


def broadcast_nodes(tracer, operands, axes) -> list[Node]:
    """The bounded operands, brought to the shape that all operands have together."""
    shape = jnp.broadcast_shapes(*map(jnp.shape, values(operands)))
    move = lambda x: jnp.broadcast_to(x, shape)  # noqa: E731
    return [
        n if n.value.shape == shape else tracer.node(Linear(move, move, structural=True), (n,), move(n.value), axes[0])
        for n in nodes_of(operands)
    ]


def known_composition(tracer, primitive, operands, params, axes):
    """[node] of what users write out of several operations, else None."""
    composed = tracer.as_function(primitive, operands, params)
    found = recognised(composed)
    if found is None:
        return None
    name, operation = found
    return [tracer.node(operation, (composed.root,), composed.function(composed.root.value), axes[0], name)]
