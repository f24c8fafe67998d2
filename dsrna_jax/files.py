"""Paths as users write them, and files replaced as a whole or not at all: a process that is killed leaves the file as it was."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from dsrna_jax.errors import InputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields the path of a temporary file beside `path`, for the block to write; it takes the place of `path` at the end.

    An exception in the block leaves `path` as it was, and removes the temporary file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, in UTF-8, as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def expanded(text: str | os.PathLike) -> Path:
    """The path with `~` and `~USER` replaced by that home. Raises: InputError if there is no such user, or it is not a path."""
    if "\0" in os.fspath(text):
        raise InputError(f"{os.fspath(text)!r} is not a path: it has a NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"cannot find the folder {text}: {error}") from error
