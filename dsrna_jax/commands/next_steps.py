"""Command lines to run next, which a shell takes as they are printed."""

import dataclasses
import os
import shlex
from collections.abc import Mapping
from typing import Any

from dsrna_jax.runtime.invocation import command_line


def line(command: str, *arguments: str) -> str:
    """The call of a command with those arguments, quoted where a shell needs it."""
    return f"{command_line(command)} {shlex.join(arguments)}"


def argument(path: str | os.PathLike) -> str:
    """A path that no command takes for a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def flags_of(config: Any, presets: Mapping[str, Any], default: str) -> list[str]:
    """The fewest flags that amount to `config`: a preset, and the fields in which it differs; none for those of `default`."""

    def changed(preset: Any) -> list[str]:
        names = [field.name for field in dataclasses.fields(config)]
        pairs = [(name, getattr(config, name)) for name in names if getattr(config, name) != getattr(preset, name)]
        return [f"--{'' if value else 'no'}{name}" if isinstance(value, bool) else f"--{name}={value}" for name, value in pairs]

    name = min(presets, key=lambda name: (len(changed(presets[name])), name != default))
    return [*([] if name == default else [f"--preset={name}"]), *changed(presets[name])]
