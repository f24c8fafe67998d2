"""Recognition of functions by the operations that make a value.

Two values are the same function of their operands if they were made by the same operations from the same numbers: this is a
proof, while equal values at any number of points are none.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number

# In a pattern, this number stands for any number.
ANY = 0.8125

COMMUTATIVE = frozenset("add add_any mul max min and or eq ne".split())
ANNOTATIONS = frozenset("accuracy sharding out_sharding weak_type".split())


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """An operation and its operands: nodes, predicates and constants; in patterns, `Pattern`s, `Variable`s and numbers.

    primitive: None in patterns.
    """

    name: str
    params: Mapping[str, Any]
    operands: Sequence[Any]
    primitive: Any = None


@dataclasses.dataclass(frozen=True)
class Variable:
    """An operand that a pattern leaves open: argument number `place` of a function, or the number ANY (None)."""

    place: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Pattern:
    """A value, by the alternative operations that make it, such as -x and -1 * x."""

    ways: tuple[Made, ...]  # empty for a pattern that matches nothing


def pattern_of(operand, arguments: Sequence[Node], made: Mapping[Any, list[Made]], known: dict | None = None):
    """The `Pattern` of a value of a trace whose inputs are `arguments`."""
    known = {} if known is None else known
    if any(operand is argument for argument in arguments):
        return Variable(next(i for i, argument in enumerate(arguments) if operand is argument))
    if not isinstance(operand, Node | Predicate):
        value = number(operand)
        if value is None:
            return Pattern(())  # an array, which no number equals
        return Variable(None) if value == ANY else value
    if operand not in known:
        ways = [
            Made(m.name, m.params, [pattern_of(o, arguments, made, known) for o in m.operands]) for m in made.get(operand, ())
        ]
        known[operand] = Pattern(tuple(ways))
    return known[operand]


def match(pattern, operand, made: Mapping[Any, list[Made]], bound: dict) -> dict | None:
    """The variables {Variable: operand} with which a pattern is the operand; None if it is another function.

    Args:
      made: how each node and predicate was made.
      bound: the variables that are known already.
    """
    if isinstance(pattern, Variable):
        if pattern not in bound:
            is_open = pattern.place is not None or (_is_constant(operand) and number(operand) is not None)
            return bound | {pattern: operand} if is_open else None
        return bound if _same(bound[pattern], operand) else None
    if not isinstance(pattern, Pattern):
        return bound if _same(pattern, operand) else None
    if _is_constant(operand):
        return None
    for way in pattern.ways:
        for own in made.get(operand, ()):
            matched = match_made(way, own, made, bound)
            if matched is not None:
                return matched
    return None


def match_made(way: Made, own: Made, made: Mapping[Any, list[Made]], bound: dict) -> dict | None:
    """`match` of one operation."""
    if way.name != own.name or len(way.operands) != len(own.operands) or not _same_params(way.params, own.params):
        return None
    orders = (own.operands, own.operands[::-1]) if way.name in COMMUTATIVE else (own.operands,)
    for operands in orders:
        matched: dict | None = bound
        for part, operand in zip(way.operands, operands, strict=True):
            matched = matched if matched is None else match(part, operand, made, matched)
        if matched is not None:
            return matched
    return None


def _is_constant(operand):
    return not isinstance(operand, Node | Predicate)


def _same(a, b):
    if not (_is_constant(a) and _is_constant(b)):
        return a is b
    left, right = number(a), number(b)
    return left is not None and right is not None and bool(left == right and np.signbit(left) == np.signbit(right))


def _same_params(a, b):
    relevant = lambda params: {k: v for k, v in params.items() if k not in ANNOTATIONS}  # noqa: E731
    return relevant(a) == relevant(b)
