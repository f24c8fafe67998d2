"""Paths as users write them, and files replaced as a whole or not at all: a process that is killed leaves the file as it was."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from dsrna_jax.errors import InputError

_LONGEST = 64 * 2**20  # bytes


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields the path of a temporary file beside `path`, for the block to write; it takes the place of `path` at the end.

    An exception in the block leaves `path` as it was, and removes the temporary file. Raises: InputError if `path` is there and
    no regular file: a device such as /dev/null would be replaced by a file; OSError, of `path`, as where the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is not a regular file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename in (None, temporary, os.fspath(temporary)):  # None on a full disk
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, in UTF-8, as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def content_of(path: str | os.PathLike, longest: float = _LONGEST) -> bytes:
    """The bytes of a file, if they are at most `longest`.

    Raises: FileNotFoundError or NotADirectoryError if there is no such file; InputError, which names the file, if it is larger,
      cannot be read, or is no regular file: a pipe would be waited for, and a device might have no end.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not path.is_file():
            raise InputError(f"{path} is not a regular file")
        if status.st_size > longest:
            raise InputError(f"{path} has {status.st_size:,} bytes: expected a file of at most {longest:,}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError:
        raise
    except ValueError as error:  # NUL in a path
        raise InputError(f"cannot read {str(path)!r}: {error}") from None


def text_of(path: str | os.PathLike, longest: float = _LONGEST) -> str:
    """The text in a file, in UTF-8 with or without a byte order mark. Raises: as `content_of`; InputError if it is none."""
    try:
        return content_of(path, longest).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None


def expanded(text: str | os.PathLike) -> Path:
    """The path with `~` and `~USER` replaced by that home. Raises: InputError if there is no such user, or it is not a path."""
    if "\0" in os.fspath(text):
        raise InputError(f"{os.fspath(text)!r} is not a path: it has a NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"cannot find the folder {text}: {error}") from error
