"""VNNLIB files (1.0, as VNN-COMP uses it): boxes of inputs X_0, X_1, ..., each with outputs Y_0, Y_1, ... that are unsafe.

A file asserts a formula of comparisons of linear terms, joined by `and` and `or`; a point that satisfies it is a counterexample.
"""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from dsrna_jax import bounds
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import expanded
from dsrna_jax.interchange.linear_terms import Inequality, Variables, comparisons
from dsrna_jax.interchange.onnx_file import read_bytes
from dsrna_jax.interchange.s_expressions import Atom, Form, parsed

_MOST_CASES = 100_000
_IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")


class Property(NamedTuple):
    """A box of inputs, and the outputs y that no input in it may have.

    Output y is unsafe if in some clause all rows have `rows @ y + offsets <= 0`, and those that are strict `< 0`. The network has
    the property if no x with lower <= x <= upper has an unsafe output.

    lower, upper: [input], float64, in the order of the entries of the network's input.
    rows: [row, output].
    offsets: [row].
    clauses: numbers of rows.
    strict: numbers of rows that come from < and >.
    """

    lower: np.ndarray
    upper: np.ndarray
    rows: np.ndarray
    offsets: np.ndarray
    clauses: tuple[tuple[int, ...], ...]
    strict: tuple[int, ...] = ()

    def is_unsafe(self, outputs: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
        """Whether each of the outputs [batch, output] is unsafe, [batch]; `tolerance`: by how much a row may exceed 0."""
        values = outputs @ self.rows.T + self.offsets
        is_below = np.where(np.isin(np.arange(len(self.offsets)), self.strict), values < tolerance, values <= tolerance)
        return np.any([is_below[:, list(clause)].all(1) for clause in self.clauses], axis=0)

    def region(self, example_shape: Sequence[int] | None = None) -> "bounds.Box":
        """The box of inputs as `bounds.verify` takes it, [1, *example_shape]; by default [1, input]."""
        shape = self.lower.shape if example_shape is None else example_shape
        return bounds.Box(self.lower.reshape(1, *shape), self.upper.reshape(1, *shape))

    def specification(self, output_shape: Sequence[int] | None = None, dtype: DTypeLike = np.float32) -> "bounds.Specification":
        """The property as `bounds.verify` takes it, of an f that computes in `dtype`.

        Offsets that it does not hold are rounded down, and strict rows count as others do: what is proved then implies the
        property, and a counterexample is one if `is_unsafe` of its output.

        Args:
          output_shape: of the output of one example; by default [output].
          dtype: float64 needs `jax.enable_x64`.
        Raises: InputError if `dtype` does not hold the rows, or JAX does not compute in it.
        """
        import jax
        import jax.numpy as jnp

        dtype = np.dtype(dtype)
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise InputError(f"JAX does not compute in {dtype} here: expected float32, or jax.enable_x64(True)")
        rows, offsets = self.rows.astype(dtype), self.offsets.astype(dtype)
        if not np.array_equal(rows, self.rows):
            raise InputError(f"{dtype} does not hold the property's factors of outputs: give dtype=numpy.float64")
        offsets = np.where(offsets > self.offsets, np.nextafter(offsets, -np.inf, dtype=offsets.dtype), offsets)
        shape = self.rows.shape[1:] if output_shape is None else output_shape
        return bounds.Specification(jnp.asarray(rows.reshape(-1, *shape)), jnp.asarray(offsets), self.clauses)


def read(path: str | os.PathLike) -> tuple[Property, ...]:
    """The properties in a file .vnnlib or .vnnlib.gz, one for each box of inputs.

    Raises: InputError, with the line, if the file cannot be read or is not of the form above: brackets that do not match, unknown
      names, terms that are not linear, conditions on several inputs, an input without a bound or with its lower above its upper.
    """
    path = expanded(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return parsed_properties(text)
    except UnicodeDecodeError:
        raise InputError(f"{path} is no VNNLIB file: it is not UTF-8") from None
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None


def parsed_properties(text: str) -> tuple[Property, ...]:
    """The properties in the text of a file. Raises: InputError as `read`."""
    declarations, asserted = [], []
    for form in parsed(text):
        if form.head in ("declare-const", "declare-fun"):
            declarations.append(form)
        elif form.head == "assert":
            if len(form.items) != 2:
                raise InputError(f"line {form.line}: expected (assert FORMULA)")
            asserted.append(form.items[1])
        elif form.head not in _IGNORED:
            is_newer = form.head.startswith(("vnnlib", "declare-network"))
            what = "of a version of VNNLIB that is not read" if is_newer else "not known"
            raise InputError(f"line {form.line}: ({form.head or '...'} ...) is {what}: expected declare-const or assert")
    variables = _variables(declarations)
    return tuple(_properties(*_cases(asserted, variables), variables))


def witness(x: np.ndarray, y: np.ndarray) -> str:
    """A counterexample as VNN-COMP writes it: ((X_0 0.1) ... (Y_0 2.5)), one pair a line."""
    pairs = [f"({letter}_{i} {float(v)!r})" for letter, values in (("X", x), ("Y", y)) for i, v in enumerate(np.ravel(values))]
    return "(" + "\n".join(pairs) + ")"


def _variables(declarations: list[Form]) -> Variables:
    names: dict[str, None] = {}  # in order, and quick to search
    for form in declarations:
        words = [item.text if isinstance(item, Atom) else "()" for item in form.items[1:]]
        sort = words[1:] if form.head == "declare-const" else words[2:]
        if sort != ["Real"]:
            raise InputError(f"line {form.line}: expected (declare-const NAME Real)")
        if words[0] in names:
            raise InputError(f"line {form.line}: {shown(words[0])} is declared twice")
        names[words[0]] = None
    counts = []
    for letter in "XY":
        count = sum(name.startswith(f"{letter}_") for name in names)
        absent = next((i for i in range(max(count, 1)) if f"{letter}_{i}" not in names), None)
        if absent is not None:
            raise InputError(f"{letter}_{absent} is not declared, though {count} names begin with {letter}_")
        counts.append(count)
    strange = [name for name in names if name[:2] not in ("X_", "Y_")]
    if strange:
        raise InputError(f"{shown(strange[0])} is declared: expected X_0, X_1, ... and Y_0, Y_1, ...")
    return Variables(*counts)


def _cases(asserted, variables: Variables) -> tuple[list[Inequality], list[tuple[Inequality, ...]]]:
    """The assertions as conditions that always hold, and a disjunction of conjunctions, whose number has a limit.

    Raises: InputError above it.
    """
    common: list[Inequality] = []
    cases: list[tuple[Inequality, ...]] = [()]
    for formula in asserted:
        alternatives = _alternatives(formula, variables)
        if len(alternatives) == 1:
            common.extend(alternatives[0])
        else:
            cases = _joined([cases, alternatives])
    return common, cases


def _alternatives(formula, variables: Variables) -> list[tuple[Inequality, ...]]:
    if not isinstance(formula, Form):
        raise InputError(f"line {formula.line}: expected a comparison, got {shown(formula.text)}")
    if formula.head in ("and", "or"):
        parts = [_alternatives(part, variables) for part in formula.items[1:]]
        if not parts:
            raise InputError(f"line {formula.line}: an empty ({formula.head})")
        return _joined(parts) if formula.head == "and" else [case for part in parts for case in part]
    return [comparisons(formula, variables)]


def _joined(parts: list[list[tuple[Inequality, ...]]]) -> list[tuple[Inequality, ...]]:
    """Every choice of one case of each part. Raises: InputError if there are too many."""
    if math.prod(map(len, parts)) > _MOST_CASES:
        raise InputError(f"more than {_MOST_CASES:,} cases, as its disjunctions are multiplied out")
    return [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)]


def _properties(
    common: Iterable[Inequality], cases: Iterable[tuple[Inequality, ...]], variables: Variables
) -> Iterator[Property]:
    """A property for each box. Raises: InputError if no case has a box that holds a point."""
    boxes: dict[bytes, tuple[np.ndarray, list[list[Inequality]]]] = {}
    empty = None
    limits = np.array([np.full(variables.inputs, -np.inf), np.full(variables.inputs, np.inf)])
    whole = _box(limits, [c for c in common if c.is_of_inputs])
    of_all = [c for c in common if not c.is_of_inputs]
    for case in cases:
        box = _box(whole, [c for c in case if c.is_of_inputs])
        for side, text in zip(box, ("lower", "upper"), strict=True):
            if len(absent := np.flatnonzero(np.isinf(side))):
                raise InputError(f"X_{absent[0]} has no {text} bound")
        crossed = np.flatnonzero(box[0] > box[1])
        if len(crossed):
            i = crossed[0]
            empty = empty or InputError(f"X_{i} has lower bound {box[0, i]:g} above its upper bound {box[1, i]:g}")
            continue
        conditions = [*of_all, *(c for c in case if not c.is_of_inputs)]
        if not conditions:
            raise InputError("a case asserts nothing of the outputs: expected a comparison of Y_0, Y_1, ...")
        boxes.setdefault(box.tobytes(), (box, []))[1].append(conditions)
    if not boxes and empty is not None:
        raise empty
    for box, clauses in boxes.values():
        yield _property(box, clauses, variables)


def _box(whole: np.ndarray, bounds: Iterable[Inequality]) -> np.ndarray:
    """The part of a box, [lower or upper, input], within bounds of single inputs."""
    box = whole.copy()
    for bound in bounds:
        ((name, factor),) = bound.factors.items()
        index, limit = int(name[2:]), -bound.offset / factor
        if factor > 0:
            box[1, index] = min(box[1, index], limit)
        else:
            box[0, index] = max(box[0, index], limit)
    return box


def _property(box: np.ndarray, clauses: list[list[Inequality]], variables: Variables) -> Property:
    rows: dict[tuple, int] = {}
    numbered = tuple(tuple(dict.fromkeys(rows.setdefault(_key(c), len(rows)) for c in clause)) for clause in clauses)
    matrix, offsets = np.zeros((len(rows), variables.outputs)), np.zeros(len(rows))
    for (factors, offset, _), row in rows.items():
        offsets[row] = offset
        for name, factor in factors:
            matrix[row, int(name[2:])] = factor
    strict = tuple(row for (*_, is_strict), row in rows.items() if is_strict)
    return Property(box[0], box[1], matrix, offsets, tuple(dict.fromkeys(numbered)), strict)


def _key(comparison: Inequality) -> tuple:
    return tuple(sorted(comparison.factors.items())), comparison.offset, comparison.is_strict
