"""Flags made from the fields of a configuration: absl's, in a set of their own, so that importing defines nothing."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from dsrna_jax.errors import InputError

_DEFINE = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}


def config_flags(default: Any) -> flags.FlagValues:
    """A flag for every field of the dataclass value `default`, with the field's type, help and choices, and --help."""
    values = no_flags()
    for field in dataclasses.fields(default):
        text, choices, value = field.metadata["help"], field.metadata["choices"], getattr(default, field.name)
        if choices:
            flags.DEFINE_enum(field.name, value, choices, text, flag_values=values, module_name="configuration")
        else:
            define = _DEFINE[type(value)]
            define(field.name, value, text, flag_values=values, module_name="configuration")
    return values


def no_flags() -> flags.FlagValues:
    """A set with --help alone."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "show this", short_name="h", flag_values=values, module_name="command")
    return values


def parse(values: flags.FlagValues, argv: Sequence[str], config: Any = None, *, takes_arguments: bool = False) -> list[str]:
    """Reads a command line; what it holds besides flags.

    Flags and values that earlier versions had for the fields of the dataclass value `config` still count: a line on standard
    error says what they are called now. Raises: InputError that names the flag and what it takes.
    """
    try:
        rest = values(_in_todays_names(argv, () if config is None else dataclasses.fields(config)))[1:]
    except flags.Error as error:
        raise InputError(f"{' '.join(str(error).split())} (--help lists all flags)") from None
    if rest and not takes_arguments:
        raise InputError(f"unexpected argument {rest[0]!r}: expected flags, such as --epochs=10 (--help lists all)")
    return rest


def _in_todays_names(argv: Sequence[str], fields: Sequence[dataclasses.Field]) -> list[str]:
    former = {field.metadata["formerly"]: field.name for field in fields if field.metadata["formerly"]}
    renamed = {field.name: field.metadata["renamed"] for field in fields}
    current = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        flag = name.lstrip("-") if name.startswith("-") else ""
        flag, value = former.get(flag, flag), renamed.get(former.get(flag, flag), {}).get(value, value)
        current.append(f"--{flag}{equals}{value}" if flag else argument)
        if flag and current[-1].lstrip("-") != argument.lstrip("-"):
            print(f"note: {argument} is now {current[-1]}", file=sys.stderr)
    return current


def typed(values: flags.FlagValues, config: Any) -> dict[str, Any]:
    """The fields of `config` that were given on the command line."""
    return {field.name: values[field.name].value for field in dataclasses.fields(config) if values[field.name].present}
