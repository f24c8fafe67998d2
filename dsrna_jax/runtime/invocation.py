"""The command line by which the user calls a command, for messages that name the next command."""

import sys

COMMANDS = ("search", "train", "attack", "certify", "compare", "sweep", "reproduce", "export", "verify")


def command_line(command: str) -> str:
    """The call of one of `COMMANDS`: `dsrna_jax search`, `python -m dsrna_jax search` or `python -m experiments.search`.

    The form follows the module that this process was started with; it is the first in a process without one, such as a notebook.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = "" if spec is None else spec.name
    if started.startswith("experiments."):
        return f"python -m experiments.{command}"
    return f"python -m dsrna_jax {command}" if started == "dsrna_jax.__main__" else f"dsrna_jax {command}"


def in_users_words(text: str) -> str:
    """`text` with every `dsrna_jax COMMAND` replaced by the command line of the user."""
    for command in COMMANDS:
        text = text.replace(f"dsrna_jax {command}", command_line(command))
    return text
