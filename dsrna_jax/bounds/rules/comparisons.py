"""Comparisons of bounded values, choices by them, and their conversion to numbers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Predicate, partial_before
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.choice import Choice
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.rules.affine import moving
from dsrna_jax.bounds.rules.building import constant_node, values
from dsrna_jax.bounds.univariate import crossing, meet
from dsrna_jax.bounds.univariate import difference as affine_difference
from dsrna_jax.kernels.equations import evaluated


def comparison(tracer, primitive, operands, params, axes):
    """The rule of gt, ge, lt, le, eq, ne and is_finite."""
    name, left, right = primitive.name, operands[0], operands[-1]
    value = evaluated(primitive, values(operands), params)[0]
    if any(isinstance(o, Predicate) for o in operands):  # eq and ne of truth values
        return logical("xor" if name == "ne" else "xnor")(tracer, primitive, operands, params, axes)
    is_infinite = any(number(o) is not None and np.isinf(number(o)) for o in operands if not isinstance(o, Node))
    if name == "is_finite" or (name in ("eq", "ne") and (left is right or is_infinite)):
        node = left if isinstance(left, Node) else right
        outcome = name == "is_finite" or (name == "ne") == is_infinite
        if not partial_before(node):
            return [Predicate(name, left, right, None, value, outcome)]
        return [Predicate("known" if outcome else "unknown", left, right, node, value)]
    (difference,) = tracer.inline(jnp.subtract, left, right)
    return [Predicate(name, left, right, difference, value)]


def opposite(tracer, primitive, operands, params, axes):
    """The rule of not."""
    (predicate,) = operands
    value = jnp.logical_not(predicate.value)
    if predicate.outcome is not None:
        return [dataclasses.replace(predicate, value=value, outcome=not predicate.outcome)]
    opposite = {"gt": "le", "le": "gt", "lt": "ge", "ge": "lt", "eq": "ne", "ne": "eq"} | {
        "signbit": "no signbit",
        "no signbit": "signbit",
        "known": "unknown",
        "unknown": "known",
    }
    opposite = opposite[predicate.compare]
    return [dataclasses.replace(predicate, compare=opposite, value=value)]


def _number(tracer, truth, axis, dtype) -> Any:
    """A truth value as a node of zeros and ones, an array of them, or one number if it is the same everywhere."""
    if isinstance(truth, Predicate):
        return indicator(tracer, truth, axis, dtype) if truth.outcome is None else np.asarray(truth.outcome, dtype)
    return alike(tracer, jnp.asarray(truth, dtype), truth) if number(truth) is None else np.asarray(number(truth), dtype)


def alike(tracer, array, operand):
    """An array that `tracer.inline` takes to change with the batch size as an operand does."""
    tracer.kept.append(array)
    if id(operand) in tracer.other_shapes:
        tracer.other_shapes[id(array)] = tracer.other_shapes[id(operand)]
    return array


def indicator(tracer, predicate, axis, dtype):
    """A predicate as a node of zeros and ones, or as such an array if it is known."""
    if predicate.outcome is not None:
        return np.broadcast_to(np.asarray(predicate.outcome, dtype), predicate.value.shape)
    cases = [np.broadcast_to(np.asarray(v, dtype), predicate.value.shape) for v in (0, 1)]
    return select(tracer, lax.select_n_p, [predicate, *cases], {}, [axis])[0]


def logical(name):
    """The rule of and, or, xor, and xnor (eq) of truth values, computed on nodes of zeros and ones."""

    def rule(tracer, primitive, operands, params, axes):
        bounded = [o for o in operands if isinstance(o, Predicate)]
        dtype = next((p.difference.value.dtype for p in bounded if p.difference is not None), np.float32)
        numbers = [_number(tracer, o, axes[0], dtype) for o in operands]
        value = evaluated(primitive, values(operands), params)[0]
        combined = {
            "and": lambda a, b: a * b,
            "or": lambda a, b: 1 - (1 - a) * (1 - b),
            "xor": lambda a, b: abs(a - b),
            "xnor": lambda a, b: 1 - abs(a - b),
        }[name]
        if not any(isinstance(n, Node) for n in numbers):
            known = [number(n) for n in numbers]
            if any(n is None for n in known):
                return [combined(*numbers) > 0.5]
            return [Predicate(name, operands[0], operands[-1], None, value, bool(combined(*known) > 0.5))]
        (result,) = tracer.inline(combined, *numbers)
        return [true_above_half(tracer, result, value)]

    return rule


def joined(tracer, primitive, operands, params, axes):
    """The rule of concatenate and stack; truth values are joined as zeros and ones."""
    bounded = [o for o in operands if isinstance(o, Predicate)]
    if not bounded:
        return moving(*range(len(operands)))(tracer, primitive, operands, params, axes)
    dtype = next((p.difference.value.dtype for p in bounded if p.difference is not None), np.float32)
    value = evaluated(primitive, values(operands), params)[0]
    axis_of = lambda o: getattr(getattr(o, "difference", None), "batch_axis", axes[0])  # noqa: E731
    numbers = [_number(tracer, o, axis_of(o), dtype) for o in operands]
    numbers = [
        n if isinstance(n, Node) else alike(tracer, jnp.broadcast_to(n, np.shape(v)), o)
        for n, v, o in zip(numbers, values(operands), operands, strict=True)
    ]
    if not any(isinstance(n, Node) for n in numbers):
        return [evaluated(primitive, numbers, params)[0] > 0.5]
    (result,) = tracer.inline(lambda *n: primitive.bind(*n, **params), *numbers)
    return [true_above_half(tracer, result, value)]


def reduced(extreme):
    """The rule of reduce_and (jnp.min) and reduce_or (jnp.max)."""

    def rule(tracer, primitive, operands, params, axes):
        (predicate,) = operands
        value = evaluated(primitive, values(operands), params)[0]
        if predicate.outcome is not None:
            return [dataclasses.replace(predicate, value=value)]
        numbers = indicator(tracer, predicate, predicate.difference.batch_axis, predicate.difference.value.dtype)
        (result,) = tracer.inline(lambda x: extreme(x, axis=params["axes"]), numbers)
        return [true_above_half(tracer, result, value)]

    return rule


def true_above_half(tracer, node, value):
    """The truth value of a node of zeros and ones."""
    (difference,) = tracer.inline(lambda x: x - 0.5, node)
    return Predicate("gt", node, 0.5, difference, value)


def select(tracer, primitive, operands, params, axes):
    """The rule of select_n: a choice by a constant mask, or by a comparison of bounded values."""
    predicate, *cases = operands
    if all(case is cases[0] for case in cases) and isinstance(cases[0], Node):
        return [cases[0]]
    if any(jnp.result_type(value) == np.bool_ for value in values(cases)):
        return _selected_truth(tracer, primitive, operands, params, axes)
    if not isinstance(predicate, Predicate):
        return moving(*range(1, len(operands)), structural=False)(tracer, primitive, operands, params, axes)
    if predicate.outcome is not None:
        return [cases[predicate.outcome]]
    known = _piecewise(tracer, operands, axes)
    if known is not None:
        return known
    parents = [
        predicate.difference,
        *(c if isinstance(c, Node) else constant_node(tracer, c, predicate.difference) for c in cases),
    ]
    value = lax.select_n(predicate.value, *(p.value for p in parents[1:]))
    return [tracer.node(Choice(predicate.compare), parents, value, axes[0], "select")]


def _selected_truth(tracer, primitive, operands, params, axes):
    """The rule of select_n between truth values."""
    predicate, *cases = operands
    if isinstance(predicate, Predicate) and predicate.outcome is not None:
        return [cases[predicate.outcome]]
    bounded = [o for o in operands if isinstance(o, Predicate)]
    dtype = next((p.difference.value.dtype for p in bounded if p.difference is not None), np.float32)
    value = evaluated(primitive, values(operands), params)[0]
    whole = [
        np.broadcast_to(n, value.shape) if np.ndim(n) == 0 and not isinstance(n, Node) else n
        for n in (_number(tracer, case, axes[0], dtype) for case in cases)
    ]
    (chosen,) = select(tracer, primitive, [predicate, *whole], params, axes)
    if not isinstance(chosen, Node):
        return [chosen > 0.5]
    return [true_above_half(tracer, chosen, value)]


def _piecewise(tracer, operands, axes):
    """[node] of a choice between two functions of one value that meet where the choice changes: a hinge or a curve; else None."""
    predicate, *cases = operands
    for root in tracer.origins.roots_of((predicate.left, predicate.right)):
        parts = tracer.origins.as_functions_of(root, (predicate.left, predicate.right, *cases))
        bent = parts and _bent(tracer, operands, axes, root, parts)
        if bent:
            return bent
    return None


def _bent(tracer, operands, axes, root, parts):
    """`_piecewise` for functions of one node: those of both sides of the comparison, and of both cases."""
    predicate, *cases = operands
    sides, parts = parts[:2], parts[2:]
    opposite = zip(sides, (None if isinstance(o, Node) else o for o in (predicate.right, predicate.left)), strict=True)
    pair = lambda part, o: (0.0, o if number(o) is None else number(o)) if part is None else part.affine  # noqa: E731
    bend = affine_difference(*map(pair, sides, (predicate.left, predicate.right)))
    if bend is None or number(bend[0]) is None or bend[0] == 0:
        return None
    at = crossing(bend)
    if at is None or predicate.compare not in ("gt", "ge", "lt", "le"):
        return None
    true_above = (predicate.compare in ("gt", "ge")) == bool(bend[0] > 0)
    order = (0, 1) if true_above else (1, 0)
    left, right = (pair(parts[i], cases[i]) for i in order)
    if any(part is not None and part.roundings > (number(other) is not None and number(other) == 0) for part, other in opposite):
        return None  # the choice changes where its comparison as evaluated does
    once = all(part is None or part.roundings <= 1 for part in parts)
    if once and left is not None and right is not None and meet(left, right, at):
        value = lax.select_n(predicate.value, *(jnp.broadcast_to(v, root.value.shape) for v in values(cases)))
        return [tracer.node(Hinge(left[0], right[0], at), (root,), value, axes[0], "relu")]
    below, above = (_function(parts[i], cases[i]) for i in order)
    place = np.asarray(at, root.value.dtype)
    if below is None or above is None or place != at:
        return None
    with jax.ensure_compile_time_eval():
        ends = [np.asarray(f(jnp.asarray(place))) for f in (below, above)]
    if not ends[0] == ends[1]:
        return None
    return tracer.inline(lambda x: below(jnp.minimum(x, place)) + (above(jnp.maximum(x, place)) - ends[1]), root)


def _function(part, constant):
    if part is not None:
        return part.function
    return None if number(constant) is None else lambda x: number(constant)


def cast(tracer, primitive, operands, params, axes):
    """The rule of convert_element_type to truth values and floats; a comparison becomes a choice between 0 and 1."""
    (operand,), dtype = operands, params["new_dtype"]
    if isinstance(operand, Predicate) and not jnp.issubdtype(dtype, jnp.inexact):
        return operands  # as an integer it stays the truth value that it is until it is a floating-point number
    if dtype == np.bool_:
        return comparison(tracer, lax.ne_p, [operand, np.zeros((), operand.value.dtype)], {}, axes)
    if isinstance(operand, Predicate):
        return [indicator(tracer, operand, axes[0], dtype)]
    if operand.value.dtype == dtype:
        return operands
    is_rounded = jnp.finfo(dtype).eps > jnp.finfo(operand.value.dtype).eps
    terms = (lambda *_, **__: 0) if is_rounded else None
    return moving(0, singleton=True, terms=terms)(tracer, primitive, operands, params, axes)


RULES = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "ne", "eq", "is_finite"), comparison),
    "not": opposite,
    **{name: logical(name) for name in ("and", "or", "xor")},
    **dict.fromkeys(("concatenate", "stack"), joined),
    "reduce_and": reduced(jnp.min),
    "reduce_or": reduced(jnp.max),
    "select_n": select,
    "convert_element_type": cast,
}
