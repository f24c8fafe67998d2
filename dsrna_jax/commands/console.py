"""The console command `dsrna_jax`, also `python -m dsrna_jax`: runs the command named by its first argument."""

import importlib
from collections.abc import Sequence

from dsrna_jax import __version__
from dsrna_jax.commands.process import execute
from dsrna_jax.errors import InputError, close_to
from dsrna_jax.runtime.invocation import COMMANDS


def main(argv: Sequence[str]) -> None:
    """Runs the command `argv[1]` with the arguments `argv[2:]`, or prints help (--help) or the version (--version).

    Raises: InputError if there is no such command.
    """
    name, *rest = argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(overview())
    elif name == "--version":
        print(f"dsrna_jax {__version__}")
    elif name in COMMANDS:
        importlib.import_module(f"dsrna_jax.commands.{name}").main([name, *rest])
    else:
        raise InputError(
            f"unknown command {name!r}{close_to(name, COMMANDS)}: expected one of {', '.join(COMMANDS)} "
            "(dsrna_jax --help says what they do)"
        )


def overview() -> str:
    """The commands, each with the first line of its module's docstring."""
    modules = {name: importlib.import_module(f"dsrna_jax.commands.{name}") for name in COMMANDS}
    longest = max(map(len, COMMANDS))
    lines = [f"  {name:{longest}}  {(module.__doc__ or '').splitlines()[0]}" for name, module in modules.items()]
    return "\n".join(["usage: dsrna_jax COMMAND [flags]", "", *lines, "", "dsrna_jax COMMAND --help lists the flags."])


def run() -> None:
    """The entry point: runs `main` with the arguments of this process, and ends the process."""
    execute(main)
