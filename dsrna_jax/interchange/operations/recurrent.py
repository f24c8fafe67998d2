"""Recurrent ONNX operations: RNN, GRU and LSTM, in one direction or both, by a scan over the sequence.

Formulas and the order of gates are those of the ONNX specification. X is [sequence, batch, input], the weights W of inputs
[direction, gates * size, input], those of states, R, [direction, gates * size, size], biases B [direction, 2 * gates * size].
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.errors import InputError
from dsrna_jax.interchange.operations.registry import OnnxOperation

_FUNCTIONS = {
    "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Softplus": jax.nn.softplus,
    "Softsign": jax.nn.soft_sign,
    "Tanh": jnp.tanh,
}


def _recurrent(cell, gates: int, activations: tuple[str, ...], states: int) -> OnnxOperation:
    """An operation from its cell.

    Args:
      cell: (node, functions, bounded, x, state, R, bias, recurrent_bias, peepholes) -> state of the next place of the sequence,
        as a tuple of `states` arrays [batch, size], the first of which is the output. x: [batch, gates * size], from the input.
        bounded: clips by the attribute `clip`.
      activations: those that a file need not name.
    """

    def apply(node, x, weights, recurrences, biases=None, lengths=None, *initial):
        if node.get("layout", 0):
            x = x.swapaxes(0, 1)
        if lengths is not None and np.any(lengths != x.shape[0]):
            raise InputError(
                f"sequence_lens={np.ravel(lengths)[:5].tolist()}: expected the whole sequence of {x.shape[0]}, as by none"
            )
        size, kind = recurrences.shape[2], node.get("direction", "forward")
        is_reversed = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(kind)
        if is_reversed is None:
            raise InputError(f"direction={kind!r}: expected forward, reverse or bidirectional")
        functions = _functions(node, activations, len(is_reversed))
        limit = node.get("clip")
        bounded = (lambda a: a) if limit is None else (lambda a: jnp.clip(a, -limit, limit))
        if biases is None:
            biases = np.zeros((len(is_reversed), 2 * gates * size), x.dtype)
        peepholes = initial[states] if len(initial) > states else None
        ends, outputs = [], []
        for number, backwards in enumerate(is_reversed):
            own, recurrent = jnp.split(jnp.asarray(biases[number])[None], 2, axis=1)

            def step(state, given, number=number, own=own, recurrent=recurrent):
                peephole = None if peepholes is None else jnp.split(jnp.asarray(peepholes[number])[None], 3, axis=1)
                state = cell(node, functions[number], bounded, given, state, recurrences[number], own, recurrent, peephole)
                return state, state[0]

            start = tuple(_start(node, initial, i, number, (x.shape[1], size), x.dtype) for i in range(states))
            end, output = lax.scan(step, start, x @ weights[number].T, reverse=backwards)
            ends.append(end)
            outputs.append(output)
        every = jnp.stack(outputs, 1)  # [sequence, direction, batch, size]
        last = [jnp.stack(of_state) for of_state in zip(*ends, strict=True)]
        if node.get("layout", 0):
            return every.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in last)
        return every, *last

    return OnnxOperation(apply, static=(4,))


def _functions(node, activations, directions):
    """The activations of each direction. Raises: InputError for one that is not known, or is given numbers of its own."""
    names = node.get("activations") or activations * directions
    for name in names:
        if name not in _FUNCTIONS:
            raise InputError(f"activation {name!r}: expected one of {', '.join(_FUNCTIONS)}")
    if len(names) != len(activations) * directions:
        raise InputError(f"{len(names)} activations: expected {len(activations)} for each direction")
    every = [_FUNCTIONS[name] for name in names]
    return [every[len(activations) * i : len(activations) * (i + 1)] for i in range(directions)]


def _start(node, initial, number, direction, shape, dtype):
    """The first state of a direction, [batch, size]: zero if it is left out."""
    if len(initial) <= number or initial[number] is None:
        return jnp.zeros(shape, dtype)
    state = jnp.asarray(initial[number], dtype)
    return state[:, direction] if node.get("layout", 0) else state[direction]


def _simple(node, functions, bounded, x, state, recurrences, own, recurrent, peephole):
    (f,), (h,) = functions, state
    return (f(bounded(x + h @ recurrences.T + own + recurrent)),)


def _gated(node, functions, bounded, x, state, recurrences, own, recurrent, peephole):
    """Gates z (update), r (reset) and h (hidden)."""
    (f, g), (h,) = functions, state
    (xz, xr, xh), (wz, wr, wh) = jnp.split(x + own, 3, axis=-1), jnp.split(recurrences, 3)
    bz, br, bh = jnp.split(recurrent, 3, axis=-1)
    update = f(bounded(xz + h @ wz.T + bz))
    reset = f(bounded(xr + h @ wr.T + br))
    if node.get("linear_before_reset", 0):
        hidden = g(bounded(xh + reset * (h @ wh.T + bh)))
    else:
        hidden = g(bounded(xh + (reset * h) @ wh.T + bh))
    return ((1 - update) * hidden + update * h,)


def _long_short_term(node, functions, bounded, x, state, recurrences, own, recurrent, peephole):
    """Gates i (input), o (output), f (forget) and c (cell)."""
    if node.get("input_forget", 0):
        raise InputError("input_forget=1, coupled gates, is not read")
    (f, g, h), (output, memory) = functions, state
    gi, go, gf, gc = jnp.split(x + output @ recurrences.T + own + recurrent, 4, axis=-1)
    pi, po, pf = (0, 0, 0) if peephole is None else peephole
    remembered = f(bounded(gf + pf * memory)) * memory + f(bounded(gi + pi * memory)) * g(bounded(gc))
    return f(bounded(go + po * remembered)) * h(remembered), remembered


OPERATIONS = {
    "GRU": _recurrent(_gated, 3, ("Sigmoid", "Tanh"), 1),
    "LSTM": _recurrent(_long_short_term, 4, ("Sigmoid", "Tanh", "Tanh"), 2),
    "RNN": _recurrent(_simple, 1, ("Tanh",), 1),
}
