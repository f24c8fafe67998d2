"""Command lines to run next, quoted for a shell."""

import dataclasses
import os
import shlex
from collections.abc import Mapping
from typing import Any

from dsrna_jax.runtime.invocation import command_line


def line(command: str, *arguments: str) -> str:
    """The command line of a command with those arguments, quoted for a shell."""
    return f"{command_line(command)} {shlex.join(arguments)}"


def argument(path: str | os.PathLike) -> str:
    """A path as an argument that no command takes for a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def flags_of(config: Any, presets: Mapping[str, Any], default: str) -> list[str]:
    """The fewest flags that give `config`: a preset, unless it is `default`, and the fields in which it differs."""

    def changed(preset: Any) -> list[str]:
        names = [field.name for field in dataclasses.fields(config)]
        pairs = [(name, getattr(config, name)) for name in names if getattr(config, name) != getattr(preset, name)]
        return [f"--{'' if value else 'no'}{name}" if isinstance(value, bool) else f"--{name}={value}" for name, value in pairs]

    name = min(presets, key=lambda name: (len(changed(presets[name])), name != default))
    return [*([] if name == default else [f"--preset={name}"]), *changed(presets[name])]
