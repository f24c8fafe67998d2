"""Comparisons of linear terms in VNNLIB: (<= (+ X_0 (* 2.0 X_1)) 3.5) and the like."""

import math
from typing import NamedTuple

from dsrna_jax.errors import InputError, shown
from dsrna_jax.interchange.s_expressions import Form
from dsrna_jax.interchange.vnnlib_variables import Tensors, Variables


class Inequality(NamedTuple):
    """The condition `sum of factor * variable + offset <= 0`, or `< 0` if it is strict; the factors are not 0."""

    factors: dict[str, float]
    offset: float
    is_strict: bool = False

    @property
    def is_of_inputs(self) -> bool:
        """Whether its variables are inputs."""
        return next(iter(self.factors)).startswith("X")


class _Term(NamedTuple):
    factors: dict[str, float]
    offset: float

    def times(self, factor: float) -> "_Term":
        return _Term({name: factor * value for name, value in self.factors.items()}, factor * self.offset)

    def plus(self, other: "_Term") -> "_Term":
        factors = dict(self.factors)
        for name, value in other.factors.items():
            factors[name] = factors.get(name, 0.0) + value
        return _Term(factors, self.offset + other.offset)


def comparisons(form: Form, variables: Variables | Tensors) -> tuple[Inequality, ...]:
    """The conditions of a comparison by <=, >=, <, > or = (== in VNNLIB 2.0), which is two.

    Raises: InputError, with the line, if it is of another kind, of no variable, of several inputs, of inputs and outputs, or a
      strict one of an input.
    """
    if form.head not in ("<=", ">=", "<", ">", "=", "==") or len(form.items) != 3:
        expected = "and, or, or two terms compared by <=, >=, <, >, = or =="
        raise InputError(f"line {form.line}: ({form.head or '...'} ...): expected {expected}")
    left, right = (_term(item, form.line, variables) for item in form.items[1:])
    below, above = left.plus(right.times(-1.0)), right.plus(left.times(-1.0))
    sides = (below, above) if form.head.startswith("=") else (below,) if form.head.startswith("<") else (above,)
    return tuple(_checked(side, form.line, variables, is_strict=form.head in ("<", ">")) for side in sides)


def _checked(term: _Term, line: int, variables: Variables | Tensors, *, is_strict: bool) -> Inequality:
    factors = {name: factor for name, factor in term.factors.items() if factor}
    kinds, names = {name[0] for name in factors}, ", ".join(map(variables.spelled, sorted(factors)[:4]))
    if not kinds:
        raise InputError(f"line {line}: a comparison without a variable")
    if len(kinds) > 1:
        raise InputError(f"line {line}: a comparison of inputs with outputs, {names}, which is not read")
    if kinds == {"X"} and len(factors) > 1:
        raise InputError(f"line {line}: a condition on several inputs, {names}: expected a box, bounds of each")
    if kinds == {"X"} and is_strict:
        raise InputError(f"line {line}: a strict bound of an input, {names}: expected <= or >=")
    return Inequality(factors, term.offset, is_strict)


def _term(item: str | Form, line: int, variables: Variables | Tensors) -> _Term:
    """A term in a list that begins at that line."""
    if isinstance(item, str):
        entry = variables.entry(item)
        if entry is not None:
            return _Term({entry: 1.0}, 0.0)
        return _Term({}, _number(item, line))
    operands = [_term(part, item.line, variables) for part in item.items[1:]]
    if item.head in ("+", "*", "-") and not operands:
        raise InputError(f"line {item.line}: an empty ({item.head})")
    if item.head == "+":
        total = operands[0]
        for operand in operands[1:]:
            total = total.plus(operand)
        return total
    if item.head == "-":
        if len(operands) == 1:
            return operands[0].times(-1.0)
        total = operands[0]
        for operand in operands[1:]:
            total = total.plus(operand.times(-1.0))
        return total
    if item.head == "*":
        return _product(operands, item.line)
    raise InputError(f"line {item.line}: ({item.head or '...'} ...) is no linear term: expected +, - or *")


def _product(operands: list[_Term], line: int) -> _Term:
    total = _Term({}, 1.0)
    for operand in operands:
        if total.factors and operand.factors:
            raise InputError(f"line {line}: a product of two variables: expected linear terms")
        total = operand.times(total.offset) if not total.factors else total.times(operand.offset)
    return total


def _number(text: str, line: int) -> float:
    try:
        number = float(text)
    except ValueError:
        raise InputError(f"line {line}: {shown(text)} is neither a declared variable nor a number") from None
    if not math.isfinite(number) or "_" in text:
        raise InputError(f"line {line}: {shown(text)} is no finite number")
    return number
