"""The common flow of the commands with a configuration: flags, help, dry run, run and report."""

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl.flags import FlagValues

from dsrna_jax.commands.flags import FLAGS_ALONE, config_flags, define, parse
from dsrna_jax.commands.process import enable_compilation_cache
from dsrna_jax.commands.processes import define_processes, facts, join_processes
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.invocation import command_line, in_users_words
from dsrna_jax.runtime.paths import is_begun
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.signals import ending
from dsrna_jax.training.shipped import path_of


class Flag(NamedTuple):
    """A flag that takes a text, or with a default of False none."""

    text: str
    default: str | bool | None = None
    choices: Sequence[str] | None = None


LOG = Flag("tensorboard, wandb, mlflow, or several with commas between: logs that follow metrics.jsonl", "")
CHECKPOINT = Flag("folder of a training or a checkpoint, file .safetensors that export wrote, or name of a pretrained network")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its part of the flow of `run_command`.

    Its functions take the flags: `values.NAME` is a value, `values["NAME"].present` says whether it was typed. They import their
    modules when they are called, so that --help needs no JAX.

    name: as in `dsrna_jax NAME`.
    description: first part of --help, in which calls are written `dsrna_jax NAME`.
    defaults: a configuration; its fields become flags with its values as defaults.
    own: further flags, by name.
    dry_run: help of --dry_run.
    settings: flags -> configuration and folder of the results.
    plan: the output of --dry_run.
    run: does the work; its result is passed to `report`.
    report: the output when the work is done.
    answer: the output instead of the work, if the flags ask a question; else None.
    """

    name: str
    description: str
    defaults: Any
    own: Mapping[str, Flag]
    dry_run: str
    settings: Callable[[FlagValues], tuple[Any, Path]]
    plan: Callable[[Any, FlagValues], str]
    run: Callable[[Any, Path, FlagValues], Any]
    report: Callable[[Any, Path, FlagValues], str]
    answer: Callable[[FlagValues], str | None] = lambda values: None


def run_command(command: Command, argv: Sequence[str]) -> None:
    """Runs `command` with the arguments `argv[1:]`.

    Raises: InputError for bad input; Stopped after a signal, with the command line that goes on in its message.
    """
    values = parsed_flags(command, argv)
    if values.help:
        print(f"{in_users_words(command.description)}\n{values.get_help()}")
        return
    if (answer := command.answer(values)) is not None:
        print(answer)
        return
    join_processes(values)
    config, folder = command.settings(values)
    enable_compilation_cache()
    if values.dry_run:
        print(command.plan(config, values))
        return

    def advice() -> str:
        again = shlex.join([*argv[1:], *(["--resume"] if is_begun(folder) and not values.resume else [])])
        return f" in {folder}; go on by {command_line(command.name)} {again}"

    with ending(advice):
        current().agree("command", facts(command.name, config, folder, values))
        result = command.run(config, folder, values)
        if current().is_first:
            print(command.report(result, folder, values))


def parsed_flags(command: Command, argv: Sequence[str], expected: str = FLAGS_ALONE) -> FlagValues:
    """The flags of `command` with the values in `argv[1:]`; `expected` as that of `flags.parse`.

    Raises: InputError, which names the first one that is wrong.
    """
    values = config_flags(command.defaults)
    for name, flag in command.own.items():
        define(values, name, flag.default, flag.text, flag.choices)
    define(values, "config", None, "run folder, config.json or file of fields (JSON, YAML), whose fields flags override")
    define(values, "resume", False, "go on with the work that was stopped in that folder")
    define(values, "dry_run", False, command.dry_run)
    define(values, "devices", 0, "devices that share a batch; 0 for all", "[0, 65536]")
    define_processes(values)
    parse(values, argv, command.defaults, expected=expected)
    return values


def checkpoint(values: FlagValues) -> str:
    """The path that --checkpoint names. Raises: InputError if it was not given."""
    if not values.checkpoint:
        raise InputError(f"expected --checkpoint=RUN, the folder of a training by {command_line('train')} (--help says more)")
    return path_of(values.checkpoint)
