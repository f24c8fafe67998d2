"""Recurrent ONNX operations: RNN, GRU and LSTM, in one direction or both, by a scan over the sequence.

Formulas and the order of gates are those of the ONNX specification. X is [sequence, batch, input], the weights W of inputs
[direction, gates * size, input], those of states, R, [direction, gates * size, size], biases B [direction, 2 * gates * size].
"""

from collections.abc import Sequence
from typing import NamedTuple

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


class _Weights(NamedTuple):
    """Weights of one direction beside W.

    of_states: R, [gates * size, size].
    bias, bias_of_states: added to W times the input, and to R times the state, [1, gates * size].
    peepholes: of the gates i, o and f, [1, size], or 0.
    """

    of_states: jax.Array
    bias: jax.Array
    bias_of_states: jax.Array
    peepholes: Sequence[jax.Array | int]


def _recurrent(cell, gates: int, activations: tuple[str, ...], states: int) -> OnnxOperation:
    """An operation from its cell.

    Args:
      cell: (node, functions, x, state, weights) -> state of the next place of the sequence, as a tuple of `states` arrays
        [batch, size], the first of which is the output. x: W times the input, [batch, gates * size].
      activations: those that a file need not name.
    """

    def apply(node, x, weights, recurrences, biases=None, lengths=None, *initial):
        is_batch_first = bool(node.get("layout", 0))
        x = x.swapaxes(0, 1) if is_batch_first else x
        if lengths is not None and np.any(lengths != len(x)):
            raise InputError(f"sequence_lens={np.ravel(lengths)[:5].tolist()}: expected the whole sequence of {len(x)}")
        reversals, size = _reversals(node), recurrences.shape[2]
        if biases is None:
            biases = np.zeros((len(reversals), 2 * gates * size), x.dtype)
        peepholes = initial[states] if len(initial) > states else None
        ends, outputs = [], []
        for i, (functions, is_reversed) in enumerate(zip(_functions(node, activations, len(reversals)), reversals, strict=True)):
            of_input, of_state = jnp.split(jnp.asarray(biases[i])[None], 2, axis=1)
            of_memory = (0, 0, 0) if peepholes is None else jnp.split(jnp.asarray(peepholes[i])[None], 3, axis=1)
            own = _Weights(jnp.asarray(recurrences[i]), of_input, of_state, of_memory)

            def step(state, given, functions=functions, own=own):
                state = cell(node, functions, given, state, own)
                return state, state[0]

            shape = (x.shape[1], size)
            start = tuple(_start(state, i, is_batch_first, shape, x.dtype) for state in (*initial, None, None)[:states])
            end, output = lax.scan(step, start, x @ weights[i].T, reverse=is_reversed)
            ends.append(end)
            outputs.append(output)
        every = jnp.stack(outputs, 1)  # [sequence, direction, batch, size]
        last = [jnp.stack(of_state) for of_state in zip(*ends, strict=True)]
        if is_batch_first:
            return every.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in last)
        return every, *last

    return OnnxOperation(apply, static=(4,))


def _reversals(node):
    """Whether each direction goes from the end of the sequence to its beginning."""
    kind, known = node.get("direction", "forward"), {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    if kind not in known:
        raise InputError(f"direction={kind!r}: expected {', '.join(known)}")
    return known[kind]


def _functions(node, activations, directions):
    """The activations of each direction, of gates behind the attribute `clip`; the third, of an LSTM, is of its memory.

    Raises: InputError for one that is not known.
    """
    names, limit = node.get("activations") or activations * directions, node.get("clip")
    if unknown := [name for name in names if name not in _FUNCTIONS]:
        raise InputError(f"activation {unknown[0]!r}: expected one of {', '.join(_FUNCTIONS)}")
    count = len(activations)
    if len(names) != count * directions:
        raise InputError(f"{len(names)} activations: expected {count} for each direction")

    def clipped(function):
        return function if limit is None else lambda x: function(jnp.clip(x, -limit, limit))

    every = [_FUNCTIONS[name] if i % count == 2 else clipped(_FUNCTIONS[name]) for i, name in enumerate(names)]
    return [every[i : i + count] for i in range(0, len(every), count)]


def _start(state, direction, is_batch_first, shape, dtype):
    """The first state of a direction, [batch, size]: zero if it is left out."""
    if state is None:
        return jnp.zeros(shape, dtype)
    state = jnp.asarray(state, dtype)
    return state[:, direction] if is_batch_first else state[direction]


def _simple(node, functions, x, state, weights):
    (f,), (h,) = functions, state
    return (f(x + h @ weights.of_states.T + weights.bias + weights.bias_of_states),)


def _gated(node, functions, x, state, weights):
    """Gates z (update), r (reset) and h (hidden)."""
    (f, g), (h,) = functions, state
    xz, xr, xh = jnp.split(x + weights.bias, 3, axis=1)
    bz, br, bh = jnp.split(weights.bias_of_states, 3, axis=1)
    wz, wr, wh = jnp.split(weights.of_states, 3)
    update = f(xz + h @ wz.T + bz)
    reset = f(xr + h @ wr.T + br)
    if node.get("linear_before_reset", 0):
        hidden = g(xh + reset * (h @ wh.T + bh))
    else:
        hidden = g(xh + (reset * h) @ wh.T + bh)
    return ((1 - update) * hidden + update * h,)


def _long_short_term(node, functions, x, state, weights):
    """Gates i (input), o (output), f (forget) and c (cell)."""
    if node.get("input_forget", 0):
        raise InputError("input_forget=1, coupled gates, is not read")
    (f, g, h), (output, memory) = functions, state
    gi, go, gf, gc = jnp.split(x + output @ weights.of_states.T + weights.bias + weights.bias_of_states, 4, axis=1)
    pi, po, pf = weights.peepholes
    remembered = f(gf + pf * memory) * memory + f(gi + pi * memory) * g(gc)
    return f(go + po * remembered) * h(remembered), remembered


OPERATIONS = {
    "GRU": _recurrent(_gated, 3, ("Sigmoid", "Tanh"), 1),
    "LSTM": _recurrent(_long_short_term, 4, ("Sigmoid", "Tanh", "Tanh"), 2),
    "RNN": _recurrent(_simple, 1, ("Tanh",), 1),
}
