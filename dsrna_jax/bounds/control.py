"""Control flow of JAX: conditions that are known while tracing are followed, and loops unrolled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from dsrna_jax.bounds.graph import Complex, Node, Predicate, Refused, Whole
from dsrna_jax.bounds.jaxprs import closed, consts_and_carries
from dsrna_jax.bounds.known import number
from dsrna_jax.errors import NotSeparableError

_NO_REAL_NUMBERS = Predicate | Whole | Complex


def cond(tracer, equation, twin, inputs) -> list:
    """The rule of cond and switch: the branch of a known index, or a choice between the results of all for a traced index.

    Raises: NotImplementedError if the index depends on x.
    """
    index, *operands = inputs
    pairs = list(zip(equation.params["branches"], twin.params["branches"], strict=True))
    if isinstance(index, Refused):
        raise index.error
    if isinstance(index, Node | Whole | Predicate):
        raise NotImplementedError(f"no bounds through cond{tracer.where}: its condition depends on x")
    known = number(index)
    if known is not None:
        branch, other = pairs[int(np.clip(known, 0, len(pairs) - 1))]
        return tracer.interpret(closed(branch), closed(other), operands)
    results = zip(*(tracer.interpret(closed(branch), closed(other), operands) for branch, other in pairs), strict=True)
    others = [variable.aval for variable in twin.outvars]
    choose = functools.partial(lax.select_n, index)
    return [_combined(tracer, "cond", choose, cases, other) for cases, other in zip(results, others, strict=True)]


def _combined(tracer, name, function, values, other):
    """The function of results of branches or steps, `other` at the other batch size; refused if these are no real numbers."""
    refused = next((value for value in values if isinstance(value, Refused)), None)
    if refused is not None:
        return refused
    if any(isinstance(value, _NO_REAL_NUMBERS) for value in values):
        return Refused(
            NotImplementedError(f"no bounds of truth values, whole or complex numbers that come from {name}{tracer.where}")
        )
    values = [value if isinstance(value, Node) else jnp.asarray(value) for value in values]
    if not any(isinstance(value, Node) for value in values):
        return function(*values)
    with tracer.shapes(values, [other] * len(values)):
        return tracer.inline(function, *values)[0]


def while_loop(tracer, equation, twin, inputs) -> list:
    """The rule of while: unrolled. Raises: NotImplementedError unless its condition is known while tracing."""
    params, other = equation.params, twin.params
    before, shared = params["cond_nconsts"], params["body_nconsts"]
    of_condition, of_body, carry = inputs[:before], inputs[before : before + shared], list(inputs[before + shared :])
    while True:
        (goes_on,) = tracer.interpret(closed(params["cond_jaxpr"]), closed(other["cond_jaxpr"]), [*of_condition, *carry])
        if isinstance(goes_on, Refused):
            raise goes_on.error
        if isinstance(goes_on, Predicate) and goes_on.outcome is not None:
            goes_on = goes_on.outcome
        if isinstance(goes_on, Node | Predicate):
            raise NotImplementedError(f"no bounds through while{tracer.where}: its condition depends on x")
        if number(goes_on) is None:
            raise NotImplementedError(
                f"no bounds through while{tracer.where}: the number of its steps is not known while tracing"
            )
        if not number(goes_on):
            return carry
        carry = tracer.interpret(closed(params["body_jaxpr"]), closed(other["body_jaxpr"]), [*of_body, *carry])


def scan(tracer, equation, twin, inputs) -> list:
    """The rule of scan: unrolled; a `vmap` where it goes over the examples, as `lax.map` does."""
    params, other = equation.params, twin.params
    consts, carries = consts_and_carries(params)
    shared, carry, stacked = inputs[:consts], list(inputs[consts : consts + carries]), inputs[consts + carries :]
    if params["length"] != other["length"]:
        return _over_examples(tracer, equation, twin, inputs, consts, carries)
    steps = range(params["length"])
    collected: list[list] = []
    for i in reversed(steps) if params["reverse"] else steps:
        at = [_entry(tracer, s, i) for s in stacked]
        outputs = tracer.interpret(params["jaxpr"], other["jaxpr"], [*shared, *carry, *at])
        carry = outputs[:carries]
        collected.append(outputs[carries:])
    if params["reverse"]:
        collected.reverse()
    others = other["jaxpr"].out_avals[carries:]
    stack = lambda *ys: jnp.stack(ys)  # noqa: E731
    return carry + [
        _combined(tracer, "scan", stack, ys, aval) for ys, aval in zip(zip(*collected, strict=True), others, strict=True)
    ]


def _entry(tracer, s, i):
    if isinstance(s, Refused):
        return s
    if isinstance(s, _NO_REAL_NUMBERS):
        return Refused(
            NotImplementedError(f"no bounds of truth values, whole or complex numbers that scan{tracer.where} goes through")
        )
    return tracer.inline(lambda a: a[i], s)[0] if isinstance(s, Node) else s[i]


def _over_examples(tracer, equation, twin, inputs, consts, carries):
    refused = next((i for i in inputs if isinstance(i, Refused)), None)
    if refused is not None:
        raise refused.error
    if carries or any(isinstance(i, _NO_REAL_NUMBERS) for i in inputs):
        raise NotSeparableError(f"f is not batch-separable: scan{tracer.where} goes from one example to the next")
    axes = [None] * consts + [0] * (len(inputs) - consts)
    with tracer.shapes(inputs, [variable.aval for variable in twin.invars]):
        return tracer.inline(jax.vmap(core.jaxpr_as_fun(equation.params["jaxpr"]), axes), *inputs)


CONTROL = {"cond": cond, "while": while_loop, "scan": scan}
