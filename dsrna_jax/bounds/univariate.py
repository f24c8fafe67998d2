"""Elementwise functions of one node that several operations make up, for choices between two of them.

A choice such as leaky relu or elu has tight bounds if both of its cases, and the comparison, are functions of one node: affine
functions are followed exactly, others as the composition of their operations.
"""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from dsrna_jax.bounds.known import number

ELEMENTWISE = frozenset(
    "add add_any sub mul div neg integer_pow square exp expm1 log1p logistic tanh erf erfc convert_element_type copy".split()
    + "max min abs select_n gt ge lt le ne eq is_finite".split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Univariate:
    """A value as an elementwise function of the node `root`.

    function: the function; None if it contains constants that are not numbers.
    affine: (slope, offset) of an affine function, else None.
    roundings: of its evaluation. After one the affine pair is exact, and the error relative to the value; after more there are
      values on the way whose errors may be far larger.
    """

    root: Any
    function: Any
    affine: tuple | None
    roundings: int = 0


def is_of_numbers(operands: list, parts: list[Univariate | None]) -> bool:
    """Whether all constants are one number each, whatever the batch size, so that functions can be composed without end."""
    return all(part is not None or np.ndim(o) == 0 or number(o) is not None for o, part in zip(operands, parts, strict=True))


def _broadcasts(shape, onto) -> bool:
    return not shape or (len(shape) == len(onto) and all(n in (1, m) for n, m in zip(shape, onto, strict=True)))


def itself(node) -> Univariate:
    """The node as a function of itself."""
    return Univariate(node, lambda x: x, (1.0, 0.0))


def joined(name: str, call: Callable, operands: list, parts: list[Univariate | None]) -> Univariate | None:
    """The result of a primitive as a function of the one node that all its operands are functions of; None if they are not.

    Args:
      name, call: of the primitive, a function of all operands.
      parts: `Univariate` of each operand, None for constants.
    """
    known = [part for part in parts if part is not None]
    if name not in ELEMENTWISE or len({id(part.root) for part in known}) != 1:
        return None
    shape = known[0].root.value.shape
    if any(not _broadcasts(np.shape(o), shape) for o, part in zip(operands, parts, strict=True) if part is None):
        return None
    constants: list[Any] = [None if part is not None else number(o) for o, part in zip(operands, parts, strict=True)]
    operands = [o if c is None else c for o, c in zip(operands, constants, strict=True)]
    numbers = [c for c, part in zip(constants, parts, strict=True) if part is None]

    def function(x):
        spread = lambda c: np.broadcast_to(c, np.shape(x))  # noqa: E731
        return call(*(spread(c) if part is None else part.function(x) for c, part in zip(constants, parts, strict=True)))

    is_function = all(c is not None for c in numbers) and all(part.function is not None for part in known)
    pairs = [part.affine if part is not None else (0.0, o) for o, part in zip(operands, parts, strict=True)]
    roundings = sum(part.roundings for part in known) + (name not in ("neg", "copy"))
    return Univariate(known[0].root, function if is_function else None, _affine(name, operands, parts, pairs), roundings)


def _affine(name, operands, parts, pairs):
    if any(pair is None for pair in pairs):
        return None
    if name in ("add", "add_any"):
        return difference(pairs[0], (-pairs[1][0], _times(pairs[1][1], -1)))
    if name == "sub":
        return difference(*pairs)
    if name == "neg":
        return -pairs[0][0], _times(pairs[0][1], -1)
    if name in ("mul", "div") and sum(part is not None for part in parts) == 1:
        if name == "div" and parts[0] is None:
            return None
        (slope, offset), factor = next(
            (p, o) for p, part, o in zip(pairs, parts, operands[::-1], strict=True) if part is not None
        )
        factor = 1 / factor if name == "div" else factor
        return slope * factor, _times(offset, factor)
    return pairs[0] if name in ("convert_element_type", "copy") else None


def difference(a, b):
    """a - b of affine functions (slope, offset); an offset that is known to be 0 stays the number 0."""
    if a is None or b is None:
        return None
    offset = a[1] if _is_zero(b[1]) else _times(b[1], -1) if _is_zero(a[1]) else a[1] - b[1]
    return a[0] - b[0], offset


def _times(offset, factor):
    return 0.0 if _is_zero(offset) else offset * factor


def _is_zero(value):
    value = number(value)
    return value is not None and value == 0


def crossing(gap: tuple) -> Any:
    """The place where an affine function (slope, offset) is exactly 0; None if it is no number of the type, or unknown."""
    slope, offset = gap
    if _is_zero(offset):
        return 0.0
    slope, offset = number(slope), number(offset)
    if slope is None or offset is None or not np.isfinite(slope) or not np.isfinite(offset):
        return None
    at = -offset / slope
    return at if np.isfinite(at) and _exactly((slope, offset), at) == 0 else None


def meet(a, b, at) -> bool:
    """Whether affine functions (slope, offset) are known to be equal at a point."""
    if all(_is_zero(v) for v in (at, a[1], b[1])):
        return True
    values = [number(v) for v in (*a, *b, at)]
    if any(v is None or not np.isfinite(v) for v in values):
        return False
    return _exactly(values[:2], at) == _exactly(values[2:4], at)


def _exactly(affine, at) -> Fraction:
    slope, offset, at = (Fraction(float(v)) for v in (*affine, at))
    return slope * at + offset
