"""Whole numbers that depend on the input: counts of truth values, indices of the largest entry, numbers as integers, and choices.

A `Whole` is a node of floating-point numbers that takes whole values alone. Its operations are those of its node, and wrap around
where the type of the integers does.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Predicate, Whole
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.step import First, Integers, StepFunction
from dsrna_jax.bounds.rules.building import values, with_axes_in_front
from dsrna_jax.bounds.rules.comparisons import alike, indicator, select
from dsrna_jax.bounds.rules.places import gathered
from dsrna_jax.errors import NotSeparableError
from dsrna_jax.inputs import is_known
from dsrna_jax.kernels.equations import evaluated

# Quotients are truncated and remainders jump where they are whole, which is half a unit away from whole numbers moved by a half.
DIVISIONS = {
    "div": lambda a, b: (a + 0.5 * lax.sign(a)) / b,
    "rem": lambda a, b: lax.rem(a + 0.5 * lax.sign(a), b) - 0.5 * lax.sign(a),
}
MOVES = frozenset("broadcast_in_dim reshape squeeze expand_dims slice transpose concatenate stack rev pad".split())
ARITHMETIC = (
    MOVES
    | frozenset(DIVISIONS)
    | frozenset(
        "add sub mul neg abs sign max min clamp integer_pow square dot_general conv_general_dilated".split()
        + "reduce_sum reduce_prod reduce_max reduce_min cumsum cumprod cummax cummin sort".split()
        + "reduce_window_sum reduce_window_max reduce_window_min".split()
    )
)
OTHERS = ("argmax", "argmin", "select_n", "convert_element_type", "gather")
KEEPING = MOVES | frozenset("neg abs max min clamp select_n reduce_max reduce_min cummax cummin".split())
DEPTH = 32  # of the operations that are looked through
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
    """Whether an equation is one of whole numbers, or makes them of numbers or truth values, or is argmax or argmin."""
    name, makes_integers = equation.primitive.name, jnp.issubdtype(equation.outvars[0].aval.dtype, np.integer)
    if any(isinstance(i, Whole) for i in inputs) or name in ("argmax", "argmin"):
        return True
    if name == "convert_element_type":
        return makes_integers and isinstance(inputs[0], Node)
    takes_integers = name in COMPARED and jnp.issubdtype(equation.invars[0].aval.dtype, np.integer)
    makes = takes_integers or name in ARITHMETIC | {"select_n"} and makes_integers
    return makes and any(isinstance(i, Predicate) for i in inputs)


def of_whole_numbers(tracer, equation, twin, inputs) -> list:
    """Outputs of an equation of whole numbers.

    Raises: NotImplementedError for operations beyond arithmetic and choices; NotSeparableError if examples mix.
    """
    name, params = equation.primitive.name, equation.params
    if name in ("copy", "copy_p", "stop_gradient", "optimization_barrier", "name"):
        return list(inputs)
    if name not in (*ARITHMETIC, *COMPARED, *OTHERS) or len(equation.outvars) > 1:
        raise NotImplementedError(f"no bounds of {name} of whole numbers that depend on x{tracer.where}")
    (variable,) = equation.outvars
    shape = variable.aval.shape
    axis = tracer.batch_axis(name, shape, twin.outvars[0].aval.shape)
    own = [jnp.asarray(v, variable.aval.dtype) for v, variable in zip(values(inputs), equation.invars, strict=True)]
    value, dtype = evaluated(equation.primitive, own, params)[0], _type_of(inputs)
    if name == "select_n":
        nodes = [i.node if isinstance(i, Whole) else i for i in inputs if isinstance(i, Node | Whole)]
        if any(node.batch_axis != axis for node in nodes):
            raise NotSeparableError(f"f is not batch-separable: select_n{tracer.where} moves entries from one example to another")
        return [_chosen(tracer, inputs, axis, value, dtype)]
    if name == "gather" and variable.aval.dtype.kind in "iu":
        table, index = _node_or_array(tracer, inputs[0], dtype), inputs[1]
        return [_in_type(tracer, gathered(tracer, equation, twin, [table, index], value.astype(dtype), axis), value)]
    if name == "gather":
        return [gathered(tracer, equation, twin, inputs, value, axis)]
    numbers = [_node_or_array(tracer, i, dtype) for i in inputs]
    if name in ("argmax", "argmin"):
        return [_first(tracer, inputs[0], numbers[0], params["axes"], axis, value, 1 if name == "argmax" else -1)]
    if name == "convert_element_type":
        dtype = params["new_dtype"]
        if jnp.issubdtype(dtype, jnp.floating):
            return tracer.inline(lambda x: x.astype(dtype), numbers[0])
        if dtype == np.bool_:
            return [_compared(tracer, "ne", [numbers[0], 0.0], value)]
        if isinstance(inputs[0], Whole):
            return [_in_type(tracer, numbers[0], value)]
        truncated = numbers[0] if _is_whole(tracer, numbers[0]) else _truncated(tracer, numbers[0])
        return [_in_type(tracer, truncated, value, wraps=False)]
    if name in COMPARED:
        return [_compared(tracer, name, numbers, value)]
    if name in DIVISIONS:
        (result,) = tracer.inline(DIVISIONS[name], *numbers)
        return [_in_type(tracer, _truncated(tracer, result) if name == "div" else result, value)]
    own_type = {"preferred_element_type": dtype} if "preferred_element_type" in params else {}
    bound, other = (functools.partial(equation.primitive.bind, **e.params | own_type) for e in (equation, twin))
    (result,) = tracer.inline(bound, *numbers, twin=other)
    return [_whole(result, value) if name in MOVES else _in_type(tracer, result, value)]


def _whole(numbers, value):
    """Whole numbers as they are bounded: those of constants, such as a count of what is known, are constants."""
    return Whole(numbers, value) if isinstance(numbers, Node) else jnp.asarray(numbers, value.dtype)


def _is_whole(tracer, operand, depth=DEPTH) -> bool:
    """Whether an operand is known to take whole values alone, such as what was rounded and clipped."""
    if not isinstance(operand, Node):
        return is_known(operand) and bool(np.all(np.asarray(operand) == np.trunc(operand)))
    if getattr(operand.operation, "has_whole_values", False):
        return True
    for made in tracer.made.get(operand, ()) if depth else ():
        operands = made.operands[1:] if made.name == "select_n" else made.operands
        if made.name in KEEPING and all(_is_whole(tracer, o, depth - 1) for o in operands):
            return True
    return False


def _truncated(tracer, node) -> Node:
    return tracer.node(StepFunction(jnp.trunc, (-1.0, 1.0)), (node,), jnp.trunc(node.value), node.batch_axis, "trunc")


def _in_type(tracer, numbers, value, wraps=True):
    """Whole numbers as the type of their value holds them."""
    if isinstance(numbers, Node):
        at = jnp.asarray(value, numbers.value.dtype)
        numbers = tracer.node(Integers(value.dtype, wraps), (numbers,), at, numbers.batch_axis, str(value.dtype))
    return _whole(numbers, value)


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
