"""Functions of jax.numpy whose operations have no bounds, or loose ones, and that are bounded as a whole.

A call counts as one of them only if its jaxpr is, operation by operation and number by number, the one that JAX makes of the
function for the same types.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.jaxprs import called_jaxpr
from dsrna_jax.bounds.relaxations.interpolated import Interpolated
from dsrna_jax.inputs import is_known


def of_library(tracer, equation, inner, inputs) -> list | None:
    """Outputs of a call of a function of `FUNCTIONS`; None of other calls, and of operands that it has no rule for."""
    known = FUNCTIONS.get(equation.params.get("name", ""))
    if known is None or inner.consts:
        return None
    function, rule = known
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type) for v in equation.invars]
    if len(types) != function.__code__.co_argcount:
        return None
    return rule(tracer, *inputs) if any(str(inner) == own for own in _jaxprs(function, types)) else None


def _jaxprs(function: Callable, types):
    """The jaxprs of a function, and of it under `vmap` over the axes of its first operand, as text."""
    for _ in range(len(types[0].shape) + 1):
        equations = jax.make_jaxpr(function)(*types).jaxpr.eqns
        if len(equations) == 1:
            yield str(called_jaxpr(equations[0].primitive.name, equations[0].params))
        function = jax.vmap(function, [0] + [None] * (len(types) - 1))


def _sign_bit(tracer, x) -> list | None:
    return [Predicate("signbit", x, 0.0, x, jnp.signbit(x.value))] if isinstance(x, Node) else None


def _interpolation(tracer, x, places, values) -> list | None:
    """jnp.interp of x between known points; None if they are not known, or not ascending."""
    if not isinstance(x, Node) or not is_known(places, values):
        return None
    places, values = np.asarray(places), np.asarray(values)
    if places.ndim != 1 or not np.all(np.diff(places) > 0) or not np.all(np.isfinite([places, values])):
        return None
    operation = Interpolated(tuple(places.tolist()), tuple(values.tolist()))
    return [tracer.node(operation, (x,), jnp.interp(x.value, places, values), x.batch_axis, "interp")]


FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "signbit": (lambda x: jnp.signbit(x), _sign_bit),
    "_interp": (lambda x, xp, fp: jnp.interp(x, xp, fp), _interpolation),
}
