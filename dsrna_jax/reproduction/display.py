"""The progress of a graph of runs: in one line that is redrawn on a terminal, elsewhere a line at times."""

import sys
import time
from collections.abc import Collection
from typing import TextIO

from dsrna_jax.reproduction.costs import Costs
from dsrna_jax.runtime.durations import in_words
from dsrna_jax.runtime.progress import shorten

_EVERY = {True: 2.0, False: 120.0}  # seconds, on a terminal or elsewhere


class Display:
    """Runs that are done of all, those that are running with the share that is done, and the time left; also a text file.

    Lines that are written to it stand above the live one.
    """

    def __init__(self, costs: Costs, capacity: int, file: TextIO | None = None):
        self._costs, self._capacity = costs, capacity
        self._file = sys.stdout if file is None else file
        self._is_live = self._file.isatty()
        self._shown, self._line = time.monotonic(), ""

    def write(self, text: str) -> int:
        """Writes text above the live line."""
        self._file.write(f"\r\x1b[K{text}" if self._line else text)
        self._line = ""
        return len(text)

    def flush(self) -> None:
        """Flushes the file below."""
        self._file.flush()

    def left(self, names: Collection[str]) -> float:
        """Seconds until those runs have ended."""
        return self._costs.left(names) / max(1, min(self._capacity, len(names)))

    def _far(self, name: str) -> str:
        """The share of a run that is done, or else the time since it was started."""
        share = self._costs.share(name)
        return f"{100 * share:.0f} %" if share else f"for {in_words(self._costs.elapsed(name))}"

    def look(self, running: Collection[str], waiting: Collection[str]) -> None:
        """Shows the state, if it is time."""
        if not running or time.monotonic() - self._shown < _EVERY[self._is_live]:
            return
        self._shown = time.monotonic()
        total = len(self._costs.graph.nodes)
        left = in_words(self.left([*running, *waiting]))
        now = ", ".join(f"{name} {self._far(name)}" for name in running)
        line = f"{total - len(running) - len(waiting)}/{total} done, about {left} left; {now}"
        if self._is_live:
            self._line = shorten(line)
            self._file.write(f"\r\x1b[K{self._line}")
        else:
            self._file.write(f"{line}\n")
        self._file.flush()
