"""The command line by which the user calls a command: messages that name the next command name it the same way."""

import sys

COMMANDS = ("search", "train", "attack", "certify", "compare")


def command_line(command: str) -> str:
    """The call of one of `COMMANDS`: `dsrna_jax search`, `python -m dsrna_jax search` or `python -m experiments.search`.

    It follows the module that this process was started with; a process that runs no command, such as a notebook, gets the first.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = "" if spec is None else spec.name
    if started.startswith("experiments."):
        return f"python -m experiments.{command}"
    return f"python -m dsrna_jax {command}" if started == "dsrna_jax.__main__" else f"dsrna_jax {command}"


def in_users_words(text: str) -> str:
    """`text` with every call that is written `dsrna_jax COMMAND` as the user calls it."""
    for command in COMMANDS:
        text = text.replace(f"dsrna_jax {command}", command_line(command))
    return text
