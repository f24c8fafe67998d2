"""Flags made from the fields of a configuration: absl's, in a set of their own, so that importing defines nothing."""

import dataclasses
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


def parse(values: flags.FlagValues, argv: Sequence[str], takes_arguments: bool = False) -> list[str]:
    """Reads a command line; what it holds besides flags. Raises: InputError that names the flag and what it takes."""
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise InputError(f"{' '.join(str(error).split())} (--help lists all flags)") from None
    if rest and not takes_arguments:
        raise InputError(f"unexpected argument {rest[0]!r}: expected flags, such as --epochs=10 (--help lists all)")
    return rest


def typed(values: flags.FlagValues, config: Any) -> dict[str, Any]:
    """The fields of `config` that were given on the command line."""
    return {field.name: values[field.name].value for field in dataclasses.fields(config) if values[field.name].present}
