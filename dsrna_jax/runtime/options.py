"""Configurations: frozen dataclasses whose fields carry help, choices and ranges, from which flags are made.

What a field may hold is stated once, in its `option`: flags, saved configurations and what callers of the library give are all
checked by it.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from dsrna_jax.errors import InputError, shown

LONGEST_TEXT = 4096  # of a path on Linux


@dataclasses.dataclass(frozen=True)
class Interval:
    """The finite numbers from `low` to `high`, which belong to it or not; `text` is its notation in mathematics."""

    text: str
    low: float
    high: float
    has_low: bool
    has_high: bool

    def __contains__(self, value: Any) -> bool:
        return (value >= self.low if self.has_low else value > self.low) and (
            value <= self.high if self.has_high else value < self.high
        )

    def __str__(self) -> str:
        return self.text

    @property
    def floor(self) -> str:
        """Its lower end in words."""
        return f"{'at least' if self.has_low else 'more than'} {self.low}"

    @property
    def ceiling(self) -> str:
        """Its upper end in words."""
        return f"{'at most' if self.has_high else 'less than'} {self.high}"


def interval(text: str) -> Interval:
    """The interval in the notation of mathematics: "[0, 1)" holds 0 but not 1. Ends are finite, so that infinity is in none."""
    match = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text)
    if match is None:
        raise ValueError(f"expected an interval such as [0, 1), got {text!r}")
    return Interval(text, _number(match[2]), _number(match[3]), match[1] == "[", match[4] == "]")


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and value < 1e12 else value


def option(
    default: Any,
    text: str,
    allowed: Collection[str] | str | None = None,
    *,
    formerly: str | None = None,
    renamed: Mapping[Any, Any] | None = None,
) -> Any:
    """A field of a dataclass with its default, its help and, where it has them, its allowed values.

    Args:
      allowed: the choices of a text; of a number its interval, such as "[0, 1)".
      formerly: what the field was called in earlier versions, whose flags and saved configurations still count.
      renamed: values of earlier versions, each with what it is called now.
    """
    within = interval(allowed) if isinstance(allowed, str) else None
    choices = None if isinstance(allowed, str) else allowed
    names = {"help": text, "choices": choices, "within": within, "formerly": formerly, "renamed": renamed or {}}
    return dataclasses.field(default=default, metadata=names)


def in_todays_names(kind: type, saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved configuration of the dataclass `kind`, with the names that fields and values have now."""
    current = dict(saved)
    for field in dataclasses.fields(kind):
        formerly = field.metadata["formerly"]
        if formerly in current and field.name not in current:
            current[field.name] = current.pop(formerly)
        if field.name in current and isinstance(current[field.name], str):
            current[field.name] = field.metadata["renamed"].get(current[field.name], current[field.name])
    return current


def check(config: Any) -> None:
    """Checks every field of a configuration as `check_fields` does."""
    check_fields(type(config), {field.name: getattr(config, field.name) for field in dataclasses.fields(config)})


def check_fields(kind: type, values: Mapping[str, Any]) -> None:
    """Checks the type, and the choices or the range, of those fields of the dataclass `kind` that `values` has.

    A whole number counts as a float. Raises: InputError, in one line that names the first field that is not as its option says.
    """
    for field in dataclasses.fields(kind):
        if field.name not in values:
            continue
        value = values[field.name]
        if expected := _mistake(value, field.type, field.metadata["choices"], field.metadata["within"]):
            raise InputError(f"{field.name}={shown(value)}: expected {expected}")


def _mistake(value: Any, kind: Any, choices: Collection[str] | None, within: Interval | None) -> str | None:
    """What was expected instead of `value`; None if it is right."""
    if kind is str:
        return mistaken_text(value, choices)
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return "a whole number" if kind is int else "a number"
    if within is None or value in within:
        return None
    if value != value:
        return f"a number in {within}"
    return within.floor if value <= within.low else within.ceiling


def mistaken_text(value: Any, choices: Collection[str] | None = None) -> str | None:
    """What was expected instead of `value`; None if it is a text, one of the choices, that can be a path and has UTF-8."""
    if not isinstance(value, str):
        return "a text"
    if choices:
        return None if value in choices else f"one of {', '.join(choices)}"
    if len(value) > LONGEST_TEXT:
        return f"at most {LONGEST_TEXT} characters"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "a text in UTF-8"
    return "a text without a NUL character" if "\0" in value else None


def differences(old: dict, new: dict) -> list[str]:
    """`name: old -> new` of every entry in which two configurations differ."""
    return [f"{k}: {shown(old.get(k))} -> {shown(new.get(k))}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
