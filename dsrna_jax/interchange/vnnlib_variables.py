"""The variables that a VNNLIB file declares: X_0, X_1, ..., Y_0, ... (1.0), or the entries of two tensors, X[0,3] (2.0).

Either way an entry of the input is called X_i, and one of the output Y_i, by its place in row-major order.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from dsrna_jax.errors import InputError, shown
from dsrna_jax.interchange.s_expressions import Form

_TYPES = ("real", "float32", "float64")
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_ENTRY = re.compile(r"([A-Za-z]\w*)\[(\d+(?:,\d+)*)\]", re.ASCII)
_SHAPE = re.compile(r"\[(\d+(?:,\d+)*)?\]", re.ASCII)
_LARGEST = 2**31


class Variables(NamedTuple):
    """The number of variables X_0, X_1, ... of the input, and Y_0, Y_1, ... of the output."""

    inputs: int
    outputs: int

    def entry(self, name: str) -> str | None:
        """The name of the variable that is spelled so, without leading zeros; None if there is none."""
        letter, _, number = name.partition("_")
        count = {"X": self.inputs, "Y": self.outputs}.get(letter, 0)
        is_known = number.isascii() and number.isdigit() and str(int(number)) == number and int(number) < count
        return name if is_known else None

    def spelled(self, entry: str) -> str:
        """The name of an entry as the file has it."""
        return entry


class DeclaredTensor(NamedTuple):
    """A tensor as a file declares it."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def spelled(self, index: int) -> str:
        """The name of the entry at a place in row-major order."""
        places = np.unravel_index(index, self.shape) if self.shape else ()
        return f"{self.name}[{','.join(map(str, places))}]" if self.shape else self.name


class Tensors(NamedTuple):
    """The input and the output of a network."""

    input: DeclaredTensor
    output: DeclaredTensor

    @property
    def inputs(self) -> int:
        return self.input.size

    @property
    def outputs(self) -> int:
        return self.output.size

    def entry(self, name: str) -> str | None:
        """X_i or Y_i for the entry that is spelled so; None if neither tensor has it."""
        match = _ENTRY.fullmatch(name)
        of, places = (match[1], tuple(map(int, match[2].split(",")))) if match else (name, ())
        for letter, tensor in (("X", self.input), ("Y", self.output)):
            if of == tensor.name and len(places) == len(tensor.shape):
                if all(place < n for place, n in zip(places, tensor.shape, strict=True)):
                    return f"{letter}_{int(np.ravel_multi_index(places, tensor.shape)) if places else 0}"
        return None

    def spelled(self, entry: str) -> str:
        """The name of an entry as the file has it."""
        return (self.input if entry.startswith("X") else self.output).spelled(int(entry[2:]))


def flat_variables(declarations: list[Form]) -> Variables:
    """The variables of VNNLIB 1.0.

    Raises: InputError, with the line, unless they are X_0, X_1, ... and Y_0, Y_1, ..., each once.
    """
    names: dict[str, None] = {}  # in order, and quick to search
    for form in declarations:
        words = _words(form)
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


def tensors(network: Form) -> Tensors:
    """The tensors of (declare-network NAME (declare-input ...) (declare-output ...)), VNNLIB 2.0.

    Raises: InputError, with the line, unless it has one input and one output of floating-point or real numbers.
    """
    declared: dict[str, list[DeclaredTensor]] = {"declare-input": [], "declare-output": []}
    for item in network.items[2:]:
        if not isinstance(item, Form) or item.head not in declared:
            what, line = (f"({item.head} ...)", item.line) if isinstance(item, Form) else (shown(item), network.line)
            raise InputError(f"line {line}: {what} of a network is not read: expected declare-input and declare-output")
        declared[item.head].append(_tensor(item))
    for head, own in declared.items():
        if len(own) != 1:
            kind = head.removeprefix("declare-")
            raise InputError(f"line {network.line}: the network has {len(own)} {kind}s: expected one")
    (first,), (second,) = declared.values()
    if first.name == second.name:
        raise InputError(f"line {network.line}: {first.name} is declared twice")
    return Tensors(first, second)


def _tensor(form: Form) -> DeclaredTensor:
    words = _words(form)
    shape = _SHAPE.fullmatch(words[2]) if len(words) in (3, 4) else None
    if shape is None or not _NAME.fullmatch(words[0]):
        raise InputError(f"line {form.line}: expected ({form.head} NAME TYPE [LENGTHS])")
    if words[1].lower() not in _TYPES:
        raise InputError(f"line {form.line}: {words[0]} is of type {shown(words[1])}: expected Real, float32 or float64")
    lengths = tuple(int(n) for n in shape[1].split(",")) if shape[1] else ()
    if not 0 < math.prod(lengths) < _LARGEST:
        raise InputError(f"line {form.line}: {words[0]} of shape {list(lengths)} has no entry, or too many")
    return DeclaredTensor(words[0], lengths)


def _words(form: Form) -> list[str]:
    return [item if isinstance(item, str) else "()" for item in form.items[1:]]


def with_indices(form: Form) -> Form:
    """A form in which an index that stands apart, as in X [0], is part of the word before it."""
    items: list[str | Form] = []
    for item in form.items:
        before = items[-1] if items else None
        if isinstance(item, str) and item.startswith("[") and isinstance(before, str) and _NAME.fullmatch(before):
            items[-1] = before + item
        else:
            items.append(item if isinstance(item, str) else with_indices(item))
    return Form(tuple(items), form.line)
