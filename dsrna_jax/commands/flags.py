"""Flags made from the fields of a configuration: absl's, in a set of their own, so that importing defines nothing."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from dsrna_jax.commands.config_files import read_config
from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.options import changed, interval, mistaken_text, sections

OF_PROCESSES = ("coordinator_address", "num_processes", "process_id", "join_timeout")
SHARED = "search, train, attack, certify and verify"  # the commands that have these flags
FLAGS_ALONE = "flags, such as --seed=1"
_DEFINE = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_list,
}


class SectionedFlags(flags.FlagValues):
    """Flags whose help has their sections in the order in which they were defined."""

    def get_help(self, prefix: str = "", include_special_flags: bool = False) -> str:
        """The help of all flags; absl's own two, which we refuse, are not among them."""
        return "\n".join(self.module_help(section) for section in self.flags_by_module_dict())


def no_flags() -> flags.FlagValues:
    """A set of flags with --help alone."""
    values = SectionedFlags()
    flags.DEFINE_boolean("help", False, "show this", short_name="h", flag_values=values, module_name="command")
    return values


def config_flags(default: Any) -> flags.FlagValues:
    """A flag for every field of the dataclass value `default`, with the field's type, help, choices and range, and --help."""
    values = no_flags()
    for section, fields in sections(type(default)).items():
        for field in fields:
            text, choices, within = (field.metadata[name] for name in ("help", "choices", "within"))
            text = text if within is None else f"{text}, in {within}"
            define(values, field.name, getattr(default, field.name), text, choices, section)
    return values


def define(
    values: flags.FlagValues,
    name: str,
    default: Any,
    text: str,
    allowed: Sequence[str] | str | None = None,
    section: str = "command",
) -> None:
    """Adds a flag of the type of its default (None: a string), in a section of --help.

    allowed: the choices of a text, or the interval of a number, such as "[0, 1)"; `parse` refuses all else.
    """
    place = {"flag_values": values, "module_name": section}
    if isinstance(allowed, str):
        within = interval(allowed)
        _DEFINE[type(default)](name, default, f"{text}, in {within}", **place)
        flags.register_validator(name, within.__contains__, f"expected a number in {within}", flag_values=values)
    elif allowed:
        flags.DEFINE_enum(name, default, allowed, text, **place)
    else:
        _DEFINE[str if default is None else type(default)](name, default, text, **place)


def parse(
    values: flags.FlagValues,
    argv: Sequence[str],
    config: Any = None,
    *,
    takes_arguments: bool = False,
    expected: str = FLAGS_ALONE,
) -> list[str]:
    """Reads a command line into `values`; returns its arguments that are no flags.

    expected: in place of an argument that is no flag, for the message.

    Names and values that earlier versions used for the fields of the dataclass value `config` are accepted, with a line on
    standard error for the new name. Raises: InputError, which names the flag and the values that it takes.
    """
    for argument in argv[1:]:
        # absl's --flagfile would read flags from any file, pipe or device, and its --undefok would ignore unknown flags.
        if argument.startswith("-") and argument.lstrip("-").split("=")[0] in ("flagfile", "undefok"):
            raise InputError(f"unknown flag {shown(argument)} (--help lists all flags)")
    try:
        rest = values(_in_todays_names(argv, () if config is None else dataclasses.fields(config)))[1:]
    except flags.UnrecognizedFlagError as error:
        if error.flagname in OF_PROCESSES:
            raise InputError(f"--{error.flagname}: this command runs in one process; {SHARED} share their work") from None
        raise InputError(_in_a_line(error)) from None
    except flags.Error as error:
        raise InputError(_in_a_line(error)) from None
    for name, value in [*((f"{name}=", values[name].value) for name in values), *(("", argument) for argument in rest)]:
        if isinstance(value, str) and (wanted := mistaken_text(value)):
            raise InputError(f"{name}{shown(value)}: expected {wanted}")
    empty = [f"--{name}=" for name in values if values[name].present and values[name].value == "" != values[name].default]
    if empty or "" in rest:
        raise InputError(f"{(empty or ['an argument'])[0]} is empty, as if from a variable that is not set: expected a text")
    if rest and not takes_arguments:
        raise InputError(f"unexpected argument {rest[0]!r}: expected {expected} (--help lists all flags)")
    return rest


def _in_a_line(error: flags.Error) -> str:
    return f"{' '.join(str(error).split())[:500]} (--help lists all flags)"


def typed(values: flags.FlagValues, config: Any) -> dict[str, Any]:
    """The fields of `config` that were given on the command line."""
    return {field.name: values[field.name].value for field in dataclasses.fields(config) if values[field.name].present}


def overridden(config: Any, values: flags.FlagValues) -> Any:
    """`config`, or that of --config, with the fields that were given on the command line.

    Raises: InputError if they do not fit together.
    """
    if "config" in values and values["config"].present:
        if "preset" in values and values["preset"].present:
            raise InputError("expected --config or --preset, not both: each is a whole configuration")
        if "run_dir" in values and not values.run_dir:
            raise InputError(f"expected --run_dir=FOLDER with --config={values.config}")
        config = read_config(values.config, type(config))
    return changed(config, **typed(values, config))


def _in_todays_names(argv: Sequence[str], fields: Sequence[dataclasses.Field]) -> list[str]:
    """The arguments with today's names and values of flags; prints a line for each that was changed."""
    renamed = {name: field for field in fields for name in (field.name, field.metadata["formerly"]) if _was_renamed(field)}
    current, arguments = [], iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        field = renamed.get(name.lstrip("-")) if name.startswith("-") else None
        if field is None:
            current.append(argument)
            continue
        if not equals:  # --flag value
            value = next(arguments, "")
        given, now = f"{name}={value}", f"--{field.name}={field.metadata['renamed'].get(value, value)}"
        current.append(now)
        if given.lstrip("-") != now.lstrip("-"):
            print(f"note: {given} is now {now}", file=sys.stderr)
    return current


def _was_renamed(field: dataclasses.Field) -> bool:
    return bool(field.metadata["formerly"] or field.metadata["renamed"])
