"""The log of a run in TensorBoard, W&B or MLflow, which follows its metrics.jsonl epoch by epoch."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.log_writers import BACKENDS, Writer
from dsrna_jax.runtime.records import rows


class EpochLog:
    """Copies of the rows of metrics.jsonl in the logs of those names.

    Each `follow` sends the rows behind the last step that a log holds. So a resumed run goes on with its log and repeats no step,
    and one that was begun without gets the epochs before too.

    Args:
      names: keys of `log_writers.BACKENDS`.
      folder: of the run.
      config: the fields of its configuration.
      is_resumed: whether it goes on; otherwise a log that was left in the folder is not continued.
      note: prints a line.
    Raises: InputError, which names the log, if one cannot be opened.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, config: Mapping[str, Any], is_resumed: bool, note: Callable[[str], None]
    ):
        self._metrics, self._note = folder / "metrics.jsonl", note
        self._writers: dict[str, Writer] = {}
        for name in names:
            try:
                self._writers[name] = BACKENDS[name].writer(folder, config, is_resumed)
            except Exception as error:  # each package has its own
                self.close()
                remedy = f"; remove {name}.json in {folder} to begin a new log" if (folder / f"{name}.json").exists() else ""
                raise InputError(f"log={name} cannot be opened: {_in_a_line(error)}{remedy}") from error
            note(f"log: {self._writers[name].place}")

    def follow(self) -> None:
        """Sends the rows that the logs lack. A log that fails is a line of warning, and gets them the next time."""
        if not self._writers or not self._metrics.exists():
            return
        recorded = rows(self._metrics)
        for name, writer in self._writers.items():
            self._trying(name, functools.partial(_send, writer, recorded))

    def close(self) -> None:
        """Ends all logs."""
        for name, writer in self._writers.items():
            self._trying(name, writer.close)
        self._writers = {}

    def _trying(self, name: str, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:  # a server that is down does not end a run of days
            self._note(f"WARN: the log {name} failed ({_in_a_line(error)}); the run goes on, and metrics.jsonl has all rows")


def _send(writer: Writer, recorded: Sequence[Mapping[str, Any]]) -> None:
    for row in recorded:
        if row["step"] > writer.last_step:
            values = {name: value for name, value in row.items() if name != "step" and _is_finite_number(value)}
            writer.scalars(row["step"], values)


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
