"""Check of paths for results, before the work: writing to a bad name could fail at its end or, worse, silently."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.errors import InputError

CONFIG, SETTINGS = "config.json", "settings.json"  # of a run and of an evaluation
OF_RUNS, OF_EVALUATIONS = (CONFIG, "metrics.jsonl", "checkpoints"), (SETTINGS, "batches.jsonl")  # neither goes where the other is

# Parts of paths that tensorstore, which writes the arrays of a checkpoint, misreads: it writes to a/b for a\b, cannot read
# back from under a[b], and takes a part such as "gs:" for the start of a URL.
_MISREAD = re.compile(r"\\|\[.*\]|(?:^|/)[a-z0-9]+:(?:/|$)", re.DOTALL)


def check_path(path: str | os.PathLike, flag: str) -> None:
    """Raises: InputError if the path, made absolute, is a file or has a name under which results cannot be kept.

    Args:
      flag: the flag that gave the path, for the message.
    """
    _check_folder(Path(path), flag)
    whole = str(Path(path).absolute())
    if misread := _MISREAD.search(whole):
        raise InputError(
            f"{flag} {whole} has {misread.group()!r} in its path, under which checkpoints cannot be read again: give a path "
            "without backslashes, brackets [...] and parts such as gs:"
        )


def check_file(path: str | os.PathLike, flag: str) -> None:
    """Raises: InputError if the path is no name for a file of results: that of a folder or a device, or in no folder."""
    path = Path(path)
    if not path.name or os.path.lexists(path) and not path.is_file():
        raise InputError(f"{flag} {path} is {'a folder' if path.is_dir() else 'no regular file'}: expected a file to write")
    _check_folder(path.parent, flag)


def _check_folder(path: Path, flag: str) -> None:
    whole = str(path.absolute())
    if strange := [c for c in whole if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]:
        raise InputError(
            f"{flag} {whole!r} has the character {strange[0]!r} in its name, a line break, control character or no "
            "character of UTF-8: give another name"
        )
    there = next(part for part in (Path(whole), *Path(whole).parents) if os.path.lexists(part))
    if not there.is_dir():
        where = path if there == Path(whole) else there
        raise InputError(f"{flag} {where} is a file: expected a folder, or a path where one can be made")


def is_begun(folder: Path) -> bool:
    """Whether the folder holds work that --resume goes on with."""
    return any((folder / name).exists() for name in (CONFIG, SETTINGS))


def first_in(folder: Path, names: Sequence[str]) -> str | None:
    """The first of the names that is in the folder; None if none is."""
    return next((name for name in names if (folder / name).exists()), None)
