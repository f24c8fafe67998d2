"""Jaxprs: constants among their equations, and access to the parts that depend on the version of JAX."""

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dsrna_jax.bounds.known import is_known, number
from dsrna_jax.kernels.equations import evaluated


def constant(primitive, inputs, params) -> list:
    """Outputs of a primitive on constants. Within a trace, numbers stay known, also as broadcast arrays, and so do indices."""
    if all(number(i) is not None for i in inputs) and inputs:
        if primitive.name == "broadcast_in_dim":
            return [np.broadcast_to(number(inputs[0]), params["shape"])]
        if all(np.ndim(i) == 0 for i in inputs):
            with jax.ensure_compile_time_eval():
                return evaluated(primitive, inputs, params)
    are_few = math.prod(params.get("shape") or ()) <= FEW
    if are_few and _makes_indices(primitive.name, params) and is_known(*inputs) and all(map(_is_index, inputs)):
        with jax.ensure_compile_time_eval():
            return evaluated(primitive, inputs, params)
    return evaluated(primitive, inputs, params)


# Operations that make indices out of indices.
OF_INDICES = frozenset(
    "iota lt le gt ge eq ne add sub mul div rem neg sign abs max min integer_pow and or xor not clamp select_n".split()
    + "shift_left shift_right_arithmetic shift_right_logical broadcast_in_dim reshape squeeze expand_dims transpose rev".split()
    + "slice concatenate stack pad sort cumsum gather convert_element_type".split()
)
FEW = 2**16  # entries of the largest array of indices that is computed while tracing


def _makes_indices(name, params) -> bool:
    """Whether an operation is one `OF_INDICES`, or a call of such alone, as `jnp.remainder` is."""
    called = called_jaxpr(name, params)
    if called is None:
        return name in OF_INDICES
    return all(_makes_indices(equation.primitive.name, equation.params) for equation in called.eqns)


def _is_index(value) -> bool:
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return np.size(value) <= FEW and (dtype == np.bool_ or jnp.issubdtype(dtype, np.integer))


def used_equations(jaxpr) -> set[int]:
    """The ids of the equations that the outputs of a jaxpr depend on, or that have effects."""
    needed, kept = {v for v in jaxpr.outvars if not isinstance(v, core.Literal)}, set()
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars) or equation.effects:
            kept.add(id(equation))
            needed.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return kept


# Operations on entries of two operands whose rules take these as long as the result along each axis, which JAX does not.
OF_WHOLE_OPERANDS = frozenset("and or xor eq ne atan2 rem complex".split())


def repeats_operands(equation) -> bool:
    """Whether an equation repeats an operand along an axis where it has length 1, and its rule leaves this to the caller."""
    shape = equation.outvars[0].aval.shape
    return equation.primitive.name in OF_WHOLE_OPERANDS and any(v.aval.shape not in ((), shape) for v in equation.invars)


def with_whole_operands(equation) -> core.ClosedJaxpr:
    """An equation for which `repeats_operands` holds, with that as an operation of its own.

    By way of one more axis, since JAX leaves out a broadcast to the shape at hand, which it may be at one batch size alone.
    """
    shape = equation.outvars[0].aval.shape

    def f(*operands):
        whole = [jnp.squeeze(jnp.broadcast_to(o, (1, *shape)), 0) if jnp.ndim(o) else o for o in operands]
        return evaluated(equation.primitive, whole, equation.params)

    return jax.make_jaxpr(f)(*(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars))


def user_line(equation) -> str:
    """The line of user code that an equation comes from, as " (model.py:12)"; empty if unknown."""
    libraries = (*(os.path.dirname(os.path.abspath(str(m.__file__))) for m in (jax, np)), os.path.dirname(__file__))
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith((*libraries, "<")) and f"{os.sep}flax{os.sep}" not in frame.file_name:
            return f" ({frame.file_name}:{frame.line_num})"
    return ""


CALLS = frozenset(
    "jit pjit xla_call core_call closed_call core_closed_call call named_call checkpoint remat remat2".split()
    + "custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr".split()
)


def called_jaxpr(name: str, params):
    """The jaxpr that a primitive such as jit calls on all of its operands; None for other primitives."""
    if name not in CALLS:
        return None
    return next((closed(params[key]) for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params), None)


def closed(jaxpr) -> core.ClosedJaxpr:
    """A jaxpr without constants of its own, closed if it is not yet."""
    return jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else core.ClosedJaxpr(jaxpr, ())


def consts_and_carries(params) -> tuple[int, int]:
    """The number of constants and of carried values among a scan's inputs, by its parameters."""
    if "ft_in" in params:  # since JAX 0.12
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]
