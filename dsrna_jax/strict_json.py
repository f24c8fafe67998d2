"""Strict reading of JSON files, and checks of their contents: an error names the file and the field."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import content_of

_DEEPEST = 64


class Nullable(NamedTuple):
    """A value of this shape, or null."""

    shape: Any


class Optional(NamedTuple):
    """A field that an object may lack, of this shape if it is there."""

    shape: Any


def read(path: str | os.PathLike, shape: Any = object) -> Any:
    """The value in a JSON file, checked to have the shape (as in `check`).

    Raises: as `files.content_of`; InputError, which names the file, if it is not UTF-8, not JSON as `parsed` has it, or has
      another shape.
    """
    content = content_of(path)
    try:
        value = parsed(content)
        check(value, shape)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return value


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises: InputError, in one line, if it is not UTF-8 or no strict JSON: NaN, infinities, numbers that no float holds, objects
      with a key twice, unpaired surrogates, and more than 64 levels are refused.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        _check_depth(value, _DEEPEST)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # unpaired surrogates have no UTF-8
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"expected JSON of at most {_DEEPEST} levels") from None
    except ValueError as error:
        raise InputError(f"expected JSON, got text that is none: {' '.join(str(error).split())[:120]}") from None
    return value


def check(value: Any, shape: Any, where: str = "") -> None:
    """Raises: InputError, naming the field, unless `value`, as `parsed` returns it, has the shape.

    Args:
      shape: bool, int, float (any number), str; object for anything; [shape] for a list; {name: shape, ...} for an object with
        these names and maybe more; {str: shape} for an object of any names; `Optional(shape)` in an object; `Nullable(shape)`; a
        tuple of shapes, all of which the value has; a frozenset of allowed texts; or a container of allowed numbers, such as an
        `options.Interval`, with a text that describes them.
      where: path of the value in its file, such as `rows[2].accuracy`.
    """
    if isinstance(shape, Nullable | Optional):
        if value is not None or isinstance(shape, Optional):
            check(value, shape.shape, where)
    elif isinstance(shape, type):
        if shape is not object and not _is(value, shape):
            raise _unexpected(where, _NAMES[shape], value)
    elif isinstance(shape, tuple):
        for one in shape:
            check(value, one, where)
    elif isinstance(shape, frozenset):
        if not isinstance(value, str) or value not in shape:
            raise _unexpected(where, f"one of {', '.join(sorted(shape))}", value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _unexpected(where, "a list", value)
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            raise _unexpected(where, "an object", value)
        for name, inner in dict.fromkeys(value, shape[str]).items() if str in shape else shape.items():
            path = f"{where}.{name}" if where else str(name)
            if name in value:
                check(value[name], inner, path)
            elif not isinstance(inner, Optional):
                raise InputError(f"expected the field {path}, which is not there")
    elif not _is(value, float) or value not in shape:
        raise _unexpected(where, f"a number in {shape}", value)


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, int | float if kind is float else kind) and (kind is bool or not isinstance(value, bool))


def _unexpected(where: str, expected: str, value: Any) -> InputError:
    return InputError(f"expected {f'{where} to be ' if where else ''}{expected}, got {shown(value)}")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []:
        raise InputError(f"expected each field once, got {shown(twice[0])} twice")
    return dict(pairs)


def _constant(name: str) -> Any:
    raise InputError(f"expected JSON, which has no {name}")


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise InputError(f"expected numbers that a float holds, got {shown(text)}")
    return value
