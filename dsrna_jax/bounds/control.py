"""Control flow of JAX: conditions that are known while tracing are followed, and loops unrolled."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from dsrna_jax.bounds.graph import Node, Predicate, Refused
from dsrna_jax.bounds.jaxprs import closed, consts_and_carries
from dsrna_jax.bounds.known import number
from dsrna_jax.errors import InputError


def cond(tracer, equation, twin, inputs) -> list:
    """The rule of cond and switch: the branch of a known index, or a choice between the results of all for a traced index.

    Raises: NotImplementedError if the index depends on x.
    """
    index, *operands = inputs
    pairs = list(zip(equation.params["branches"], twin.params["branches"], strict=True))
    if isinstance(index, Refused):
        raise index.error
    if isinstance(index, Node | Predicate):
        raise NotImplementedError(f"no bounds through cond{tracer.where}: its condition depends on x")
    known = number(index)
    if known is not None:
        branch, other = pairs[int(np.clip(known, 0, len(pairs) - 1))]
        return tracer.interpret(closed(branch), closed(other), operands)
    results = zip(*(tracer.interpret(closed(branch), closed(other), operands) for branch, other in pairs), strict=True)
    return [_chosen(tracer, index, cases) for cases in results]


def _chosen(tracer, index, cases):
    refused = next((case for case in cases if isinstance(case, Refused)), None)
    if refused is not None:
        return refused
    if any(isinstance(case, Predicate) for case in cases):
        raise NotImplementedError(f"no bounds of truth values that come from cond{tracer.where}")
    if not any(isinstance(case, Node) for case in cases):
        return lax.select_n(index, *map(jnp.asarray, cases))
    return tracer.inline(lambda index, *cases: lax.select_n(index, *cases), index, *cases)[0]


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
    return carry + [_stacked(tracer, ys) for ys in zip(*collected, strict=True)]


def _entry(tracer, s, i):
    if isinstance(s, Refused):
        return s
    if isinstance(s, Predicate):
        raise NotImplementedError(f"no bounds of truth values that scan{tracer.where} goes through")
    return tracer.inline(lambda a: a[i], s)[0] if isinstance(s, Node) else s[i]


def _stacked(tracer, ys):
    refused = next((y for y in ys if isinstance(y, Refused)), None)
    if refused is not None:
        return refused
    if any(isinstance(y, Predicate) for y in ys):
        raise NotImplementedError(f"no bounds of truth values that come from scan{tracer.where}")
    if not any(isinstance(y, Node) for y in ys):
        return jnp.stack(ys)
    return tracer.inline(lambda *ys: jnp.stack(ys), *ys)[0]


def _over_examples(tracer, equation, twin, inputs, consts, carries):
    refused = next((i for i in inputs if isinstance(i, Refused)), None)
    if refused is not None:
        raise refused.error
    if carries or any(isinstance(i, Predicate) for i in inputs):
        raise InputError(f"f is not batch-separable: scan{tracer.where} goes from one example to the next")
    axes = [None] * consts + [0] * (len(inputs) - consts)
    tracer.other_shapes = {id(i): v.aval.shape for i, v in zip(inputs, twin.invars, strict=True)}
    return tracer.inline(jax.vmap(core.jaxpr_as_fun(equation.params["jaxpr"]), axes), *inputs)


CONTROL = {"cond": cond, "while": while_loop, "scan": scan}
