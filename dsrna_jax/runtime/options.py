"""Configurations: frozen dataclasses whose fields carry help and choices, from which flags are made."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from dsrna_jax.errors import InputError


def option(
    default: Any,
    text: str,
    choices: Collection[str] | None = None,
    *,
    formerly: str | None = None,
    renamed: Mapping[Any, Any] | None = None,
) -> Any:
    """A field of a dataclass with its default, its help and, where it has them, its allowed values.

    Args:
      formerly: what the field was called in earlier versions, whose flags and saved configurations still count.
      renamed: values of earlier versions, each with what it is called now.
    """
    names = {"help": text, "choices": choices, "formerly": formerly, "renamed": renamed or {}}
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


def check(config, least: dict[str, int], not_negative: tuple[str, ...]) -> None:
    """Raises: InputError, naming the field, if one has none of its choices or is smaller than it may be."""
    for field in dataclasses.fields(config):
        value, choices = getattr(config, field.name), field.metadata["choices"]
        if choices and value not in choices:
            raise InputError(f"{field.name}={value!r}: expected one of {', '.join(choices)}")
    for name, smallest in least.items():
        if getattr(config, name) < smallest:
            raise InputError(f"{name}={getattr(config, name)}: expected at least {smallest}")
    for name in not_negative:
        if not getattr(config, name) >= 0:
            raise InputError(f"{name}={getattr(config, name)}: expected zero or more")


def differences(old: dict, new: dict) -> list[str]:
    """`name: old -> new` of every entry in which two configurations differ."""
    return [f"{k}: {old.get(k)!r} -> {new.get(k)!r}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
