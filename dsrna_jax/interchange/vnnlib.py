"""VNNLIB files, 1.0 and 2.0, as VNN-COMP uses them: boxes of inputs, each with outputs that are unsafe.

Of 2.0 those of one network with one input and one output are read. A file asserts a formula of comparisons of linear terms,
joined by `and` and `or`; a point that satisfies it is a counterexample.
"""

import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from dsrna_jax import bounds
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import expanded
from dsrna_jax.interchange.linear_terms import Inequality, comparisons
from dsrna_jax.interchange.onnx_file import read_bytes
from dsrna_jax.interchange.s_expressions import Form, parsed
from dsrna_jax.interchange.vnnlib_variables import Tensors, Variables, flat_variables, tensors, with_indices

_MOST_CASES = 1_000_000
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
        shape = self.rows.shape[1:] if output_shape is None else output_shape
        return _specification(self.rows, self.offsets, self.clauses, shape, dtype)


def union(
    properties: Sequence[Property],
    example_shape: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple["bounds.Box", "bounds.Specification"]:
    """All properties of a file as `bounds.verify` takes them: boxes [box, *example_shape], with rows and offsets of each.

    Clauses are shared: one that is shorter in a box, or that a box does not have, repeats a row or another clause there.

    Args: as in `Property.region` and `Property.specification`.
    Raises: as `Property.specification`.
    """
    first = properties[0]
    most = max(len(p.clauses) for p in properties)
    clauses = [[p.clauses[min(k, len(p.clauses) - 1)] for k in range(most)] for p in properties]
    lengths = [max(map(len, same)) for same in zip(*clauses, strict=True)]
    places = [np.concatenate(list(map(np.resize, own, lengths))) for own in clauses]
    rows, offsets = (
        np.stack([part[place] for part, place in zip(parts, places, strict=True)])
        for parts in ([p.rows for p in properties], [p.offsets for p in properties])
    )
    ends = np.cumsum(lengths)
    shared = tuple(tuple(range(end - length, end)) for end, length in zip(ends, lengths, strict=True))
    inputs = first.lower.shape if example_shape is None else tuple(example_shape)
    lower, upper = (np.stack(sides).reshape(-1, *inputs) for sides in zip(*((p.lower, p.upper) for p in properties), strict=True))
    outputs = first.rows.shape[1:] if output_shape is None else output_shape
    return bounds.Box(lower, upper), _specification(rows, offsets, shared, outputs, dtype)


def _specification(rows: np.ndarray, offsets: np.ndarray, clauses, output_shape, dtype) -> "bounds.Specification":
    import jax

    dtype = np.dtype(dtype)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(f"JAX does not compute in {dtype} here: expected float32, or jax.enable_x64(True)")
    near, lower = rows.astype(dtype), offsets.astype(dtype)
    if not np.array_equal(near, rows):
        raise InputError(f"{dtype} does not hold the property's factors of outputs: give dtype=numpy.float64")
    lower = np.where(lower > offsets, np.nextafter(lower, -np.inf, dtype=dtype), lower)
    return bounds.Specification(near.reshape(*rows.shape[:-1], *output_shape), lower, clauses)


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
    declarations, networks, asserted = [], [], []
    for form in parsed(text):
        if form.head in ("declare-const", "declare-fun"):
            declarations.append(form)
        elif form.head == "declare-network":
            networks.append(form)
        elif form.head == "assert":
            asserted.append(form)
        elif form.head == "vnnlib-version":
            _check_version(form)
        elif form.head not in _IGNORED:
            expected = "declare-const, declare-network or assert"
            raise InputError(f"line {form.line}: ({form.head or '...'} ...) is not known: expected {expected}")
    variables = _variables(declarations, networks)
    asserted = [with_indices(form) for form in asserted] if networks else asserted
    return tuple(_properties(*_cases(asserted, variables), variables))


def _check_version(form: Form) -> None:
    words = [item for item in form.items[1:] if isinstance(item, str)]
    if len(words) != 1 or not re.fullmatch(r"<?[12]\.\d+>?", words[0]):
        raise InputError(f"line {form.line}: version {shown(' '.join(words))} of VNNLIB is not read: expected 1.0 or 2.0")


def witness(x: np.ndarray, y: np.ndarray) -> str:
    """A counterexample as VNN-COMP writes it: ((X_0 0.1) ... (Y_0 2.5)), one pair a line, tensors in row-major order."""
    pairs = [f"({letter}_{i} {float(v)!r})" for letter, values in (("X", x), ("Y", y)) for i, v in enumerate(np.ravel(values))]
    return "(" + "\n".join(pairs) + ")"


def _variables(declarations: list[Form], networks: list[Form]) -> Variables | Tensors:
    if not networks:
        return flat_variables(declarations)
    if declarations or len(networks) > 1:
        what = "variables beside a network" if declarations else f"{len(networks)} networks"
        raise InputError(f"line {(declarations or networks[1:])[0].line}: the file declares {what}: expected one network")
    return tensors(networks[0])


def _cases(asserted: Iterable[Form], variables: Variables | Tensors) -> tuple[list[Inequality], list[tuple[Inequality, ...]]]:
    """The assertions as conditions that always hold, and a disjunction of conjunctions, whose number has a limit.

    Raises: InputError above it.
    """
    common: list[Inequality] = []
    cases: list[tuple[Inequality, ...]] = [()]
    read = _Formulas(variables)
    for form in asserted:
        if len(form.items) != 2:
            raise InputError(f"line {form.line}: expected (assert FORMULA)")
        alternatives = read.alternatives(form.items[1], form.line)
        if len(alternatives) == 1:
            common.extend(alternatives[0])
        else:
            cases = _joined([cases, alternatives])
    return common, cases


class _Formulas:
    """Reads formulas; a comparison that stands in a file many times, as bounds in many cases do, is read once."""

    def __init__(self, variables: Variables | Tensors):
        self._variables = variables
        self._known: dict[tuple[str | Form, ...], list[tuple[Inequality, ...]]] = {}

    def alternatives(self, formula: str | Form, line: int) -> list[tuple[Inequality, ...]]:
        """A formula, in a list that begins at that line, as a disjunction of conjunctions."""
        if not isinstance(formula, Form):
            raise InputError(f"line {line}: expected a comparison, got {shown(formula)}")
        known = self._known.get(formula.items)
        if known is not None:
            return known
        if formula.head in ("and", "or"):
            parts = [self.alternatives(part, formula.line) for part in formula.items[1:]]
            if not parts:
                raise InputError(f"line {formula.line}: an empty ({formula.head})")
            return _joined(parts) if formula.head == "and" else [case for part in parts for case in part]
        heads = "<>" if formula.head == "!=" else (formula.head,)
        sides = [formula._replace(items=(head, *formula.items[1:])) for head in heads]
        return self._known.setdefault(formula.items, [comparisons(side, self._variables) for side in sides])


def _joined(parts: list[list[tuple[Inequality, ...]]]) -> list[tuple[Inequality, ...]]:
    """Every choice of one case of each part. Raises: InputError if there are too many."""
    if math.prod(map(len, parts)) > _MOST_CASES:
        raise InputError(f"more than {_MOST_CASES:,} cases, as its disjunctions are multiplied out")
    return [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)]


def _properties(
    common: Iterable[Inequality], cases: Iterable[tuple[Inequality, ...]], variables: Variables | Tensors
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
                raise InputError(f"{variables.spelled(f'X_{absent[0]}')} has no {text} bound")
        crossed = np.flatnonzero(box[0] > box[1])
        if len(crossed):
            i = crossed[0]
            name = variables.spelled(f"X_{i}")
            empty = empty or InputError(f"{name} has lower bound {box[0, i]:g} above its upper bound {box[1, i]:g}")
            continue
        conditions = [*of_all, *(c for c in case if not c.is_of_inputs)]
        if not conditions:
            raise InputError(f"a case asserts nothing of the outputs: expected a comparison of {variables.spelled('Y_0')}, ...")
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


def _property(box: np.ndarray, clauses: list[list[Inequality]], variables: Variables | Tensors) -> Property:
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
