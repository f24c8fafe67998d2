"""Records of a run: files of JSON objects, one a line, such as `metrics.jsonl`."""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.strict_json import Optional


class Records:
    """A file of JSON objects, one a line, to which rows are appended; `write` returns when the operating system has the row.

    Rows should hold no wall-clock time: then the file of a resumed run equals that of an unbroken one, byte for byte.

    is_written: whether this process writes the file; if not, nothing is written or dropped.
    """

    def __init__(self, path: str | os.PathLike, is_written: bool = True):
        self.path, self.is_written = Path(path), is_written

    def write(self, row: dict[str, Any]) -> None:
        """Appends `row`, of numbers, strings, lists, dicts, and scalars and arrays of numpy or jax.

        NaN and infinities, which JSON lacks, become null (which numpy and pandas read as NaN).

        Raises: OSError naming the file, if the disk is full or the file cannot be written.
        """
        if not self.is_written:
            return
        line = json.dumps(_plain(row), allow_nan=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OSError(f"cannot write to {self.path}: {error.strerror}") from None

    def truncate(self, last_step: int) -> None:
        """Drops the rows from the first with "step" > `last_step` on, and a half-written last line: to resume after it.

        Raises: InputError if a line before is not JSON.
        """
        if self.is_written and self.path.exists():
            os.truncate(self.path, len(self._until(last_step)))

    def digest(self, last_step: int) -> str:
        """Fingerprint, in hexadecimal, of the rows that `truncate` would keep; a file that does not exist has none.

        Raises: InputError if a line before is not JSON.
        """
        return hashlib.sha256(self._until(last_step) if self.path.exists() else b"").hexdigest()[:16]

    def _until(self, last_step: int) -> bytes:
        """The lines before the first with "step" > `last_step`."""
        kept = itertools.takewhile(lambda item: item[1].get("step", last_step) <= last_step, _lines(self.path))
        return b"".join(line for line, _ in kept)


def rows(path: str | os.PathLike, shape_of: Callable[[dict[str, Any]], Any] = lambda row: {}) -> list[dict[str, Any]]:
    """The rows of a file such as `metrics.jsonl`, without a last line that is still being written.

    Args:
      shape_of: row -> the shape that it must have (`strict_json.check`).
    Raises: InputError, which names file and line, if there is no such file, or a line is not JSON or has another shape.
    """
    return [row for _, row in _lines(Path(path), shape_of)]


def _lines(path: Path, shape_of: Callable[[dict[str, Any]], Any] = lambda row: {}) -> list[tuple[bytes, dict[str, Any]]]:
    """The complete lines of a file, each with its row."""
    if not path.is_file():
        raise InputError(f"no metrics at {path}: expected the metrics.jsonl of a run")
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    parsed = []
    for number, line in enumerate(lines, start=1):
        try:
            row = strict_json.parsed(line)
            strict_json.check(row, {"step": Optional(int)})
            strict_json.check(row, shape_of(row))
        except InputError as error:
            raise InputError(f"line {number} of {path} is damaged: {error}; delete it") from None
        parsed.append((line, row))
    return parsed


def _plain(value: Any) -> Any:
    """`value` with arrays as lists, and None in place of NaN and infinities."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
