"""Configurations: frozen dataclasses whose fields carry help, choices and ranges, from which flags are made.

The `option` of a field states its allowed values once, for flags, saved configurations and callers of the library alike.
"""

import copy
import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from dsrna_jax.errors import InputError, shown

LONGEST_TEXT = 4096  # of a path on Linux

_OFF = ("none", "", 0)  # values that turn a field off

# The part of a field in compiled programs: a constant, for each value of which they are compiled anew; a number that they take as
# an argument; or none, but for the shapes of what they take.
InPrograms = Literal["constant", "argument", "none"]


@dataclasses.dataclass(frozen=True)
class OptionInterval:
    """The finite numbers from `low` to `high`, with or without these ends; `text` is its notation, such as "[0, 1)"."""

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


def interval(text: str) -> OptionInterval:
    """The interval of a text in mathematical notation: "[0, 1)" holds 0 but not 1. Raises: ValueError for any other text."""
    match = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text)
    if match is None:
        raise ValueError(f"expected an interval such as [0, 1), got {text!r}")
    return OptionInterval(text, _number(match[2]), _number(match[3]), match[1] == "[", match[4] == "]")


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
    before: Any = None,
    in_programs: InPrograms = "constant",
    of: str = "",
    most: str = "",
) -> Any:
    """A field of a dataclass with its default, its help and its allowed values, if they are limited.

    Args:
      text: the help.
      allowed: the choices of a text, or the interval of a number, such as "[0, 1)".
      formerly: the name of the field in earlier versions, which flags and saved configurations may still use.
      renamed: values of earlier versions, each with its name of today.
      before: the value of runs that were saved before the field existed; None if it always has.
      in_programs: the part of the field in the compiled programs of a run.
      of: what another field must be for this one to have an effect: "strategy=gradient", "strategy!=gradient", or "perturbation"
        for any value but "none", an empty text and 0; "adversarial=pgd|mart" for one of several values, and " and " between
        several conditions.
      most: the field that this one must not exceed where it is changed, as "epochs", or must stay below, as "<epochs".
    """
    within = interval(allowed) if isinstance(allowed, str) else None
    choices = None if isinstance(allowed, str) else allowed
    names = {"help": text, "choices": choices, "within": within, "formerly": formerly, "renamed": renamed or {}, "before": before}
    return dataclasses.field(default=default, metadata=names | {"in_programs": in_programs, "of": of, "most": most})


def sections(kind: type) -> dict[str, list[dataclasses.Field]]:
    """The fields of the dataclass `kind` by the `section` of the class that has them; its own first, then those of its bases."""
    homes = {name: base for base in kind.__mro__ for name in getattr(base, "__dataclass_fields__", ())}
    fields = [(homes[field.name], field) for field in dataclasses.fields(kind)]
    every = {home: [field for its, field in fields if its is home] for home in kind.__mro__}
    return {getattr(home, "section", "configuration"): own for home, own in every.items() if own}


def names_in_programs(config: Any, part: InPrograms) -> list[str]:
    """Names of the fields of a configuration that have that part in the compiled programs of a run."""
    return [field.name for field in dataclasses.fields(config) if field.metadata["in_programs"] == part]


def with_arguments(config: Any, numbers: Mapping[str, Any]) -> Any:
    """The configuration inside a program, which takes these numbers as arguments; they may be traced, and are not checked."""
    inside = copy.copy(config)
    for name, number in numbers.items():
        object.__setattr__(inside, name, number)
    return inside


def in_todays_names(kind: type, saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved configuration of the dataclass `kind`, with today's names of fields and values."""
    current = dict(saved)
    for field in dataclasses.fields(kind):
        formerly = field.metadata["formerly"]
        if formerly in current and field.name not in current:
            current[field.name] = current.pop(formerly)
        if field.name not in current and field.metadata["before"] is not None:
            current[field.name] = field.metadata["before"]
        if field.name in current and isinstance(current[field.name], str):
            current[field.name] = field.metadata["renamed"].get(current[field.name], current[field.name])
    return with_effect(kind, current)


def _says(field: dataclasses.Field, value: Any) -> bool:
    """Whether a value of a field says something: neither its default, nor one that turns it off (0, an empty text and "none").

    To turn off what is on by default says something.
    """
    return value != field.default and (value not in _OFF or field.default is True)


def lacking(kind: type, values: Mapping[str, Any], name: str) -> str:
    """The condition `of` which a field of the dataclass `kind` would have an effect, if these values fail it; otherwise empty.

    The first one, if there are several.
    """
    of = kind.__dataclass_fields__[name].metadata["of"]
    return next(filter(None, (_failed(kind, values, condition) for condition in of.split(" and ") if condition)), "")


def _failed(kind: type, values: Mapping[str, Any], condition: str) -> str:
    """The condition, or one of the field that it names, if these values fail it; otherwise empty."""
    other, sign, expected = re.fullmatch(r"(\w+)(?:(!?=)([\w|]+))?", condition).groups()  # pyright: ignore[reportOptionalMemberAccess]
    is_met = values[other] not in _OFF if sign is None else (values[other] in expected.split("|")) == (sign == "=")
    return lacking(kind, values, other) if is_met else condition


def with_effect(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields of the dataclass `kind`; those that have no effect beside the others say nothing (`check`)."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    defaults = {name: field.default for name, field in fields.items()}
    idle = {name for name in values if name in fields and lacking(kind, {**defaults, **values}, name)}
    return {name: defaults[name] if name in idle and _says(fields[name], value) else value for name, value in values.items()}


def in_effect(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that have an effect beside the others, of those of all fields of the dataclass `kind`."""
    return {name: value for name, value in values.items() if not lacking(kind, values, name)}


def changed(config: Any, **changes: Any) -> Any:
    """The configuration with changes; other fields that have no effect beside them get their default.

    Raises: InputError as `check`, which refuses changes that have no effect, or if one exceeds the `most` of its option.
    """
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)} | changes
    new = type(config)(**with_effect(type(config), values) | changes)
    for field in dataclasses.fields(config):
        most, value = field.metadata["most"], getattr(new, field.name)
        if most and value != getattr(config, field.name):
            other, is_below = most.removeprefix("<"), most.startswith("<")
            if value >= (limit := getattr(new, other)) if is_below else value > (limit := getattr(new, other)):
                raise InputError(f"{field.name}={value}: expected {'less than' if is_below else 'at most'} {other}={limit}")
    return new


def check(config: Any) -> None:
    """Checks every field of a configuration as `check_fields` does, and that it has an effect or says nothing.

    A field says nothing by its default, and by 0, an empty text and "none", which turn it off; turning off what is on by default
    says something. Raises: InputError, in one line.
    """
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    check_fields(type(config), values)
    for field in dataclasses.fields(config):
        value = values[field.name]
        if _says(field, value) and (of := lacking(type(config), values, field.name)):
            wanted = of.replace("|", " or ")
            raise InputError(
                f"{field.name}={shown(value)} has no effect: expected {wanted}, or {field.name}={shown(field.default)}"
            )


def check_fields(kind: type, values: Mapping[str, Any]) -> None:
    """Checks the type, and the choices or the range, of those fields of the dataclass `kind` that `values` has.

    A whole number counts as a float. Raises: InputError, in one line that names the first field that its option does not allow.
    """
    for field in dataclasses.fields(kind):
        if field.name not in values:
            continue
        value = values[field.name]
        if expected := _mistake(value, field.type, field.metadata["choices"], field.metadata["within"]):
            raise InputError(f"{field.name}={shown(value)}: expected {expected}")


def _mistake(value: Any, kind: Any, choices: Collection[str] | None, within: OptionInterval | None) -> str | None:
    """The expectation that `value` fails, in words; None if it is allowed."""
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
    """The expectation that `value` fails, in words; None for one of the choices or, without any, a text that can be a path."""
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
