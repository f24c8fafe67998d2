"""Comparisons of bounded values, choices by them, and their conversion to numbers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.composed import difference as affine_difference
from dsrna_jax.bounds.composed import meet
from dsrna_jax.bounds.graph import Linear, Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.choice import Choice
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.rules.affine import moving
from dsrna_jax.bounds.rules.building import known_composition, values


def comparison(tracer, primitive, operands, params, axes):
    """gt, ge, lt, le, eq, ne and is_finite."""
    name, left, right = primitive.name, operands[0], operands[-1]
    if name == "is_finite":
        return [Predicate(name, left, None, None, True)]
    is_infinite = any(number(o) is not None and np.isinf(number(o)) for o in operands if not isinstance(o, Node))
    if name in ("eq", "ne") and (left is right or is_infinite):
        return [Predicate(name, left, right, None, (left is right) == (name == "eq"))]
    (difference,) = tracer.inline(jnp.subtract, left, right)
    return [Predicate(name, left, right, difference)]


def opposite(tracer, primitive, operands, params, axes):
    """not."""
    (predicate,) = operands
    if predicate.outcome is not None:
        return [dataclasses.replace(predicate, outcome=not predicate.outcome)]
    opposite = {"gt": "le", "le": "gt", "lt": "ge", "ge": "lt"}.get(predicate.compare, "ne")
    return [dataclasses.replace(predicate, compare=opposite)]


def select(tracer, primitive, operands, params, axes):
    """select_n: a choice by a constant mask, or by a comparison of bounded values."""
    predicate, *cases = operands
    if not isinstance(predicate, Predicate):
        return moving(*range(1, len(operands)), structural=False)(tracer, primitive, operands, params, axes)
    if predicate.outcome is not None:
        return [cases[predicate.outcome]]
    if predicate.compare not in ("gt", "ge", "lt", "le"):
        raise NotImplementedError(f"no bounds of a choice by {predicate.compare}{tracer.where}")
    known = _piecewise(tracer, primitive, operands, params, axes)
    if known is not None:
        return known
    parents = [predicate.difference, *(c if isinstance(c, Node) else _fixed(tracer, c, predicate.difference) for c in cases)]
    value = lax.select_n(_is_true(predicate), *(p.value for p in parents[1:]))
    return [tracer.node(Choice(predicate.compare), parents, value, axes[0], "select")]


def _fixed(tracer, constant, parent):
    """A constant as a node, of the shape of `parent`."""
    value = jnp.broadcast_to(constant, parent.value.shape)
    return tracer.node(Linear(lambda d: 0 * d, lambda r: 0 * r), (parent,), value, parent.batch_axis)


def _piecewise(tracer, primitive, operands, params, axes):
    """[node] of a choice between two functions of one value that meet where the choice changes: a hinge or a curve; else None."""
    predicate, *cases = operands
    sides = [tracer.composed_of(o) for o in (predicate.left, predicate.right)]
    parts = [tracer.composed_of(c) for c in cases]
    if len({id(p.root) for p in sides + parts if p is not None}) != 1:
        return None
    root = next(p.root for p in sides if p is not None)
    pair = lambda part, o: (0.0, o if number(o) is None else number(o)) if part is None else part.affine  # noqa: E731
    bend = affine_difference(*map(pair, sides, (predicate.left, predicate.right)))
    if bend is None or number(bend[0]) is None or bend[0] == 0:
        return None
    at = 0.0 if number(bend[1]) == 0 else -bend[1] / bend[0]
    true_above = (predicate.compare in ("gt", "ge")) == bool(bend[0] > 0)
    order = (0, 1) if true_above else (1, 0)
    left, right = (pair(parts[i], cases[i]) for i in order)
    if left is not None and right is not None and meet(left, right, at, np.finfo(root.value.dtype).eps):
        value = lax.select_n(_is_true(predicate), *(jnp.broadcast_to(v, root.value.shape) for v in values(cases)))
        return [tracer.node(Hinge(left[0], right[0], at), (root,), value, axes[0], "relu")]
    known = known_composition(tracer, primitive, operands, params, axes)
    if known is not None or number(at) is None:
        return known
    below, above = (_function(parts[i], cases[i]) for i in order)
    if below is None or above is None:
        return None
    with jax.ensure_compile_time_eval():
        ends = [np.asarray(f(jnp.asarray(at, root.value.dtype))) for f in (below, above)]
    if not np.abs(ends[0] - ends[1]) <= 8 * np.finfo(ends[0].dtype).eps * np.abs(ends[0]):
        return None
    return tracer.inline(lambda x: below(jnp.minimum(x, at)) + (above(jnp.maximum(x, at)) - ends[1]), root)


def _function(part, constant):
    if part is not None:
        return part.function
    return None if number(constant) is None else lambda x: number(constant)


def _is_true(predicate: Predicate):
    """The truth values of a comparison at the trace point."""
    compare = {"gt": jnp.greater, "ge": jnp.greater_equal, "lt": jnp.less, "le": jnp.less_equal}[predicate.compare]
    difference: Any = predicate.difference
    return compare(difference.value, 0)


def cast(tracer, primitive, operands, params, axes):
    """convert_element_type, to floating-point numbers; a comparison becomes a choice between 0 and 1."""
    if not jnp.issubdtype(params["new_dtype"], jnp.floating):
        raise NotImplementedError(f"no bounds of a conversion to {np.dtype(params['new_dtype']).name}{tracer.where}")
    if isinstance(operands[0], Predicate):
        difference = operands[0].difference
        if difference is None:
            raise NotImplementedError(f"no bounds of a conversion of {operands[0].compare} to a number{tracer.where}")
        cases = [np.broadcast_to(np.asarray(v, params["new_dtype"]), difference.value.shape) for v in (0, 1)]
        return select(tracer, lax.select_n_p, [operands[0], *cases], {}, axes)
    return moving(0, singleton=True)(tracer, primitive, operands, params, axes)


RULES = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "ne", "eq", "is_finite"), comparison),
    "not": opposite,
    "select_n": select,
    "convert_element_type": cast,
}
