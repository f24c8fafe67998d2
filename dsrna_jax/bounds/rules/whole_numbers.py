"""Whole numbers that depend on the input: counts of truth values, indices of the largest entry, and choices by them.

A `Whole` is a node of floating-point numbers that takes whole values alone. Its operations are those of its node.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Predicate, Whole
from dsrna_jax.bounds.jaxprs import evaluated
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.step import First
from dsrna_jax.bounds.rules.building import values, with_axes_in_front
from dsrna_jax.bounds.rules.comparisons import alike, indicator, select
from dsrna_jax.bounds.rules.places import gathered
from dsrna_jax.errors import NotSeparableError
from dsrna_jax.inputs import is_known

ARITHMETIC = frozenset(
    "add sub mul neg max min clamp abs sign reduce_sum reduce_max reduce_min cumsum cummax cummin".split()
    + "broadcast_in_dim reshape squeeze expand_dims slice transpose concatenate stack rev".split()
)
OTHERS = ("argmax", "argmin", "select_n", "convert_element_type", "gather")
WRAPPING = frozenset("add sub mul neg cumsum reduce_sum".split())
# Whether a comparison of whole numbers holds, as a number above 0, from their difference.
COMPARED = {
    "gt": lambda d: d - 0.5,
    "ge": lambda d: d + 0.5,
    "lt": lambda d: -d - 0.5,
    "le": lambda d: 0.5 - d,
    "eq": lambda d: 0.5 - abs(d),
    "ne": lambda d: abs(d) - 0.5,
}


def is_of_whole_numbers(equation, inputs) -> bool:
    """Whether an equation is one of whole numbers, or makes whole numbers of truth values, or is argmax or argmin."""
    if any(isinstance(i, Whole) for i in inputs) or equation.primitive.name in ("argmax", "argmin"):
        return True
    is_compared = equation.primitive.name in COMPARED and equation.invars[0].aval.dtype.kind in "iu"
    makes = is_compared or equation.primitive.name in ARITHMETIC | {"select_n"} and equation.outvars[0].aval.dtype.kind in "iu"
    return makes and any(isinstance(i, Predicate) for i in inputs)


def of_whole_numbers(tracer, equation, twin, inputs) -> list:
    """Outputs of an equation of whole numbers.

    Raises: NotImplementedError for operations beyond arithmetic and choices; NotSeparableError if examples mix.
    """
    name, params = equation.primitive.name, equation.params
    if name in ("copy", "copy_p", "stop_gradient", "optimization_barrier", "name"):
        return list(inputs)
    if name not in (*ARITHMETIC, *COMPARED, *OTHERS):
        raise NotImplementedError(f"no bounds of {name} of whole numbers that depend on x{tracer.where}")
    (variable,) = equation.outvars
    shape = variable.aval.shape
    axis = tracer.batch_axis(name, shape, twin.outvars[0].aval.shape)
    own = [jnp.asarray(v, variable.aval.dtype) for v, variable in zip(values(inputs), equation.invars, strict=True)]
    value, dtype = evaluated(equation.primitive, own, params)[0], _type_of(inputs)
    if name in WRAPPING and (variable.aval.dtype.kind == "u" or variable.aval.dtype.itemsize < 4):
        raise NotImplementedError(f"no bounds of {name} in {variable.aval.dtype}{tracer.where}, which may leave its range")
    if name == "select_n":
        nodes = [i.node if isinstance(i, Whole) else i for i in inputs if isinstance(i, Node | Whole)]
        if any(node.batch_axis != axis for node in nodes):
            raise NotSeparableError(f"f is not batch-separable: select_n{tracer.where} moves entries from one example to another")
        return [_chosen(tracer, inputs, axis, value, dtype)]
    if name == "gather":
        return [gathered(tracer, equation, twin, inputs, value, axis)]
    numbers = [_node_or_array(tracer, i, dtype) for i in inputs]
    if name in ("argmax", "argmin"):
        return [_first(tracer, inputs[0], numbers[0], params["axes"], axis, value, 1 if name == "argmax" else -1)]
    if name == "convert_element_type":
        dtype = params["new_dtype"]
        if jnp.issubdtype(dtype, jnp.floating):
            return tracer.inline(lambda x: x.astype(dtype), numbers[0])
        return [_compared(tracer, "ne", [numbers[0], 0.0], value) if dtype == np.bool_ else _whole(numbers[0], value)]
    if name in COMPARED:
        return [_compared(tracer, name, numbers, value)]
    bound, other = (functools.partial(equation.primitive.bind, **e.params) for e in (equation, twin))
    return [_whole(tracer.inline(bound, *numbers, twin=other)[0], value)]


def _whole(numbers, value):
    """Whole numbers as they are bounded: those of constants, such as a count of what is known, are constants."""
    return Whole(numbers, value) if isinstance(numbers, Node) else jnp.asarray(numbers, value.dtype)


def _type_of(operands):
    """The floating-point type of the bounded operands."""
    nodes = [getattr(o, "node", getattr(o, "difference", o)) for o in operands]
    return jnp.result_type(np.float32, *(node.value.dtype for node in nodes if isinstance(node, Node)))


def _node_or_array(tracer, operand, dtype) -> Any:
    if isinstance(operand, Whole | Node):
        node = operand.node if isinstance(operand, Whole) else operand
        return node if node.value.dtype == dtype else tracer.inline(lambda x: x.astype(dtype), node)[0]
    if isinstance(operand, Predicate):
        difference = operand.difference
        if difference is None:
            return alike(tracer, jnp.full(operand.value.shape, bool(operand.outcome), dtype), operand)
        return indicator(tracer, operand, difference.batch_axis, dtype)
    arrays = np if is_known(operand) else jnp
    return alike(tracer, arrays.asarray(operand, dtype), operand)


def _compared(tracer, name, operands, value):
    (above,) = tracer.inline(lambda *o: COMPARED[name](o[0] - o[1]), *operands)
    return Predicate("gt", above, 0.0, above, value) if isinstance(above, Node) else above > 0


def _first(tracer, operand, node, axes, batch_axis, value, sign):
    """The place of the first of the largest entries (sign 1), or of the smallest."""
    truths = [m.operands for m in tracer.made.get(operand, ()) if m.name == "stack" and (m.params["axis"],) == tuple(axes)]
    (entries,) = tracer.inline(lambda x: with_axes_in_front(x if sign > 0 else -x, axes=axes), node)
    if not isinstance(entries, Node):
        return value
    place = jnp.asarray(value, entries.value.dtype)
    first = tracer.node(First(not isinstance(operand, Node)), (entries,), place, batch_axis, "argmax")
    return Whole(first, value, tuple(truths[0]) if truths and sign > 0 else ())


def _chosen(tracer, inputs, axis, value, dtype):
    """select_n by a whole number, or between whole numbers."""
    index, cases = inputs[0], list[Any](inputs[1:])
    if all(case is cases[0] for case in cases):
        return cases[0]
    are_whole = value.dtype.kind in "iu"
    if are_whole:
        cases = [_node_or_array(tracer, case, dtype) for case in cases]
    elif any(isinstance(case, Predicate) for case in cases):
        raise NotImplementedError(f"no bounds of truth values that are chosen by a whole number{tracer.where}")
    cases = [c if isinstance(c, Node) or np.shape(c) == value.shape else np.broadcast_to(c, value.shape) for c in cases]
    if not isinstance(index, Whole):
        (chosen,) = select(tracer, lax.select_n_p, [index, *cases], {}, [axis])
    else:
        chosen = _by_truths(tracer, index, cases, axis) if index.truths else _by_place(tracer, index, cases, axis)
    return _whole(chosen, value) if are_whole else chosen


def _by_truths(tracer, index, cases, axis):
    """The case of the first true of several truth values; the first case if none is true."""
    chosen = cases[0]
    for truth, case in reversed(list(zip(index.truths, cases, strict=True))):
        known = number(truth) if not isinstance(truth, Predicate) else truth.outcome
        if known is None:
            (chosen,) = select(tracer, lax.select_n_p, [truth, chosen, case], {}, [axis])
        elif known:
            chosen = case
    return chosen


def _by_place(tracer, index, cases, axis):
    *others, chosen = cases
    for place, case in reversed(list(enumerate(others))):
        (beyond,) = tracer.inline(lambda i, place=place: i - (place + 0.5), index.node)
        truth = Predicate("gt", beyond, 0.0, beyond, jnp.asarray(beyond.value > 0))
        (chosen,) = select(tracer, lax.select_n_p, [truth, case, chosen], {}, [axis])
    return chosen
