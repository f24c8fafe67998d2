"""Numbers that a value is never below, whatever the input: 0 for squares, eps for a variance plus eps.

Intervals are deviations from values, so that rounding can take their ends below such a number. Functions that have no values
there, as sqrt, log and 1 / x, need it.
"""

import math

import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.inputs import is_known

AT_LEAST = {"square": 0.0, "abs": 0.0, "exp": 0.0, "exp2": 0.0, "logistic": 0.0, "sqrt": 0.0, "erfc": 0.0, "cosh": 1.0}
KEEPING = frozenset("reshape squeeze expand_dims transpose broadcast_in_dim slice rev copy reduce_max reduce_min".split())
SUMS = ("reduce_sum", "cumsum", "reduce_window_sum", "dot_general", "conv_general_dilated", "convolution")
SPARE = 1e-6  # more than the rounding of a sum or a product in float32
DEPTH = 32  # of the operations that are looked through


def least(tracer, operand, depth: int = DEPTH) -> float:
    """A number that an operand of an operation is never below, also as it is evaluated; -inf if none is known."""
    if not isinstance(operand, Node):
        return -math.inf if isinstance(operand, Predicate) else _least_entry(tracer.repeats.get(id(operand), operand))
    if operand not in tracer.least and depth > 0:
        ways = (_of(tracer, made, depth - 1) for made in tracer.made.get(operand, ()))
        tracer.least[operand] = max(ways, default=-math.inf)
    return tracer.least.get(operand, -math.inf)


def _of(tracer, made, depth):
    name, operands = made.name, made.operands
    below = lambda operand: least(tracer, operand, depth)  # noqa: E731
    if name in AT_LEAST:
        return AT_LEAST[name]
    if name == "integer_pow":
        return 0.0 if made.params["y"] % 2 == 0 or below(operands[0]) >= 0 else -math.inf
    if name == "pow":
        return 0.0 if below(operands[0]) >= 0 else -math.inf
    if name in KEEPING:
        return below(operands[0])
    if name in SUMS:
        return 0.0 if min(map(below, operands)) >= 0 else -math.inf
    if name == "max":
        return max(map(below, operands))
    if name in ("min", "concatenate", "stack"):
        return min(map(below, operands))
    if name == "select_n":
        which = None if isinstance(operands[0], Node | Predicate) else number(operands[0])
        return min(map(below, operands[1:])) if which is None else below(operands[1 + int(which)])
    if name == "add":
        return _rounded(sum(map(below, operands)))
    if name == "mul" and operands[0] is operands[1]:
        return 0.0
    if name == "mul":
        factors = [below(o) for o in operands]
        return _rounded(math.prod(factors)) if min(factors) >= 0 else -math.inf
    if name == "div" and min(map(below, operands)) >= 0:
        divisor = None if isinstance(operands[1], Node) else number(operands[1])
        return _rounded(below(operands[0]) / float(divisor)) if divisor else 0.0
    return -math.inf


def _least_entry(constant) -> float:
    """The least number of a constant; -inf if it is not known, or none."""
    if not is_known(constant) or not jnp.issubdtype(jnp.result_type(constant), jnp.floating) or np.size(constant) == 0:
        return -math.inf
    least = np.min(np.asarray(constant))
    return float(least) if least > -math.inf else -math.inf


def _rounded(value):
    return value - SPARE * abs(value) if math.isfinite(value) else -math.inf
