"""Functions of jax.numpy whose operations have no bounds, or loose ones, and that are bounded as a whole.

A call counts as one of them only if its jaxpr is, operation by operation and number by number, the one that JAX makes of the
function for the same types.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate, Whole
from dsrna_jax.bounds.jaxprs import called_jaxpr
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.interpolated import Interpolated
from dsrna_jax.bounds.relaxations.step import StepFunction
from dsrna_jax.inputs import is_known


def of_library(tracer, equation, inner, inputs) -> list | None:
    """Outputs of a call of a function of `FUNCTIONS`; None of other calls, and of operands that it has no rule for."""
    ways = FUNCTIONS.get(equation.params.get("name", ""), ())
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type) for v in equation.invars]
    for arity, function, rule in ways if not inner.consts else ():
        if len(types) == arity and any(str(inner) == own for own in _jaxprs(function, types)):
            return rule(tracer, equation.outvars[0].aval, *inputs)
    return None


def _jaxprs(function: Callable, types) -> Iterator[str]:
    """The jaxprs of a function, and of it under `vmap` over the axes of its operands that have any, as text.

    None of those that do not take such operands.
    """
    axes = [0 if i == np.argmax([len(t.shape) for t in types]) else None for i in range(len(types))]
    for _ in range(max(len(t.shape) for t in types) + 1):
        try:
            equations = jax.make_jaxpr(function)(*types).jaxpr.eqns
        except (TypeError, ValueError):
            return
        if len(equations) == 1:
            yield str(called_jaxpr(equations[0].primitive.name, equations[0].params))
        function = jax.vmap(function, axes)


def _sign_bit(tracer, result, x) -> list | None:
    return [Predicate("signbit", x, 0.0, x, jnp.signbit(x.value))] if isinstance(x, Node) else None


def _interpolation(tracer, result, x, places, values, left=None, right=None) -> list | None:
    """jnp.interp of x between known points; None if they are not known, or descend."""
    ends = [end for end in (left, right) if not (end is None or isinstance(end, str))]
    if not isinstance(x, Node) or not is_known(places, values) or any(number(end) is None for end in ends):
        return None
    places, values = np.asarray(places), np.asarray(values)
    gaps = np.diff(places)
    # jnp.interp is constant between places that are closer together.
    if places.ndim != 1 or not np.all((gaps == 0) | (gaps > np.spacing(np.finfo(result.dtype).eps))):
        return None
    if not np.all(np.isfinite([places, values])):
        return None
    left, right = (
        own if end is None else end if isinstance(end, str) else float(number(end))
        for end, own in ((left, float(values[0])), (right, float(values[-1])))
    )
    operation = Interpolated(tuple(places.tolist()), tuple(values.tolist()), left, right)
    (x,) = tracer.inline(lambda x: x.astype(result.dtype), x)
    return [tracer.node(operation, (x,), operation.function(x.value), x.batch_axis, "interp")]


def _with_ends(left, right):
    """The entry of `FUNCTIONS` of jnp.interp with such ends, of which "given" ones are operands."""

    def ends(given):
        given = iter(given)
        return [next(given) if end == "given" else end for end in (left, right)]

    def called(x, xp, fp, *given):
        first, last = ends(given)
        return jnp.interp(x, xp, fp, left=first, right=last)

    def rule(tracer, result, x, xp, fp, *given):
        return _interpolation(tracer, result, x, xp, fp, *ends(given))

    return 3 + (left == "given") + (right == "given"), called, rule


def _searched(tracer, result, places, x, side) -> list | None:
    """jnp.searchsorted of x in known places; None if they are not known, or descend."""
    if not isinstance(x, Node) or not is_known(places) or not np.all(np.diff(places) >= 0):
        return None
    return [_count(tracer, result, np.asarray(places), x, side)]


def _digitized(tracer, result, x, bins, side) -> list | None:
    """jnp.digitize of x by known bins, which ascend or descend; None if they are not known, or do neither."""
    if not isinstance(x, Node) or not is_known(bins):
        return None
    if np.all(np.diff(bins) >= 0):
        return [_count(tracer, result, np.asarray(bins), x, side)]
    if not np.all(np.diff(bins) <= 0):
        return None
    below = _count(tracer, result, np.asarray(bins)[::-1], x, side)
    (others,) = tracer.inline(lambda n: len(bins) - n, below.node)
    return [Whole(others, len(bins) - below.value)]


def _count(tracer, result, places, x, side) -> Whole:
    """The number of places, which ascend, that are below x, or ("right") not above it."""
    dtype = x.value.dtype

    def function(x):
        return jnp.searchsorted(places, x, side=side).astype(dtype)

    value = function(x.value)
    node = tracer.node(StepFunction(function), (x,), value, x.batch_axis, "searchsorted")
    return Whole(node, value.astype(result.dtype))


def _floor_divided(tracer, result, a, b) -> list | None:
    """a // b of whole numbers by a known number above 0; None of other operands."""
    if not isinstance(a, Whole) or not _is_positive(b):
        return None
    quotient = _floor_quotient(tracer, a, number(b))
    return [Whole(quotient, jnp.asarray(quotient.value, result.dtype))]


def _modulo(tracer, result, a, b) -> list | None:
    """a % b of whole numbers by a known number above 0; None of other operands."""
    if not isinstance(a, Whole) or not _is_positive(b):
        return None
    b = number(b)
    (rest,) = tracer.inline(lambda a, q: jnp.clip(a - b * q, 0, b - 1), a.node, _floor_quotient(tracer, a, b))
    return [Whole(rest, jnp.asarray(rest.value, result.dtype))]


def _is_positive(b) -> bool:
    return number(b) is not None and number(b) > 0


def _floor_quotient(tracer, a, b) -> Node:
    """The node of a // b: quotients by b that are whole, where floor jumps, are half a unit of a away from (a + 0.5) / b."""
    (quotient,) = tracer.inline(lambda a: jnp.floor((a + 0.5) / b), a.node)
    return quotient


def _by_side(function, rule):
    """Entries of `FUNCTIONS` for both sides and all methods."""
    return [
        (2, functools.partial(function, side=side, method=method), functools.partial(rule, side=side))
        for side in ("left", "right")
        for method in ("scan", "scan_unrolled", "sort", "compare_all")
    ]


ENDS = (None, "given", "extrapolate")

# By name: (number of operands, function, rule of (tracer, type of the result, *operands)).
FUNCTIONS: dict[str, list[tuple[int, Callable, Callable]]] = {
    "signbit": [(1, lambda x: jnp.signbit(x), _sign_bit)],
    "floor_divide": [(2, jnp.floor_divide, _floor_divided)],
    "remainder": [(2, jnp.remainder, _modulo)],
    "_interp": [_with_ends(left, right) for left in ENDS for right in ENDS],
    "searchsorted": _by_side(lambda a, v, side, method: jnp.searchsorted(a, v, side=side, method=method), _searched),
    "digitize": _by_side(lambda x, bins, side, method: jnp.digitize(x, bins, side == "left", method=method), _digitized),
}
