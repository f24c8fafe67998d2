"""Progress of a run in one line, on a terminal or in a file."""

import contextlib
import errno
import math
import shutil
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.timetable import Timetable
from dsrna_jax.runtime.working_time import PausableClock, working_time


class Progress:
    """The state of a run in one line: epoch, share done, rate, time left, and the caller's columns.

    On a terminal the line is redrawn in place, at most five times a second, and fits the width; elsewhere (a file, a
    pipe) a plain line comes after each epoch, and within an epoch after 20 s of silence. Use it in a `with` block.

    Rate and time left count neither compilation nor time that is `paused`, and are those of the present phase: how long the steps
    of another take is not known before it begins, so that they are counted. When nobody reads any more (the other end of a pipe,
    or the terminal, is gone), `is_cut_off` becomes true and nothing is written. Of several processes, process 0 alone writes.
    """

    def __init__(
        self,
        timetable: Timetable,
        *,
        file: TextIO | None = None,
        clock: Callable[[], float] = working_time,
    ):
        self.is_cut_off = False
        self._timetable = timetable
        self._file = sys.stdout if file is None else file
        self._clock = PausableClock(clock)
        self._is_live = self._file.isatty()
        self._line = ""  # the last line of the terminal
        self._columns: dict[str, Any] = {}
        self._drawn = -math.inf if self._is_live else clock()
        # (time, steps done), a second apart or more. The first is taken after the first step, which compiles.
        self._marks: deque[tuple[float, int]] = deque(maxlen=60)
        self._phase = 0  # that of the marks

    def update(self, step: int, **columns: Any) -> None:
        """Reports that `step` steps of the whole run are done (a resumed run goes on counting).

        Columns stay until they are given again. Their values are read only when a line is drawn: nobody waits for a jax array
        before. An "accuracy" or "acc" ("val_acc" too) is a share of 1, shown in per cent; None hides a column. A narrow terminal
        leaves out the last columns: give the important ones first.
        """
        self._columns |= columns
        now, (phase, _) = self._clock(), self._timetable.phase(step)
        if phase != self._phase:
            self._phase = phase
            self._marks.clear()
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, step))
        if self._timetable.is_end(step) or now - self._drawn >= (0.2 if self._is_live else 20):
            self._drawn = now
            self._draw(step, now)

    def note(self, text: str) -> None:
        """Prints a line of its own, above the live one."""
        self._write(f"\r\x1b[K{text}\n{self._line}" if self._is_live else f"{text}\n")

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Does not count the time that the block takes."""
        return self._clock.paused()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends the live line, which stays on the terminal."""
        if self._line:
            self._write("\n")
            self._line = ""

    def _draw(self, step: int, now: float) -> None:
        then, done = self._marks[0]
        rate = (step - done) / (now - then) if now > then else 0.0
        parts = [*self._heading(step, rate), self._left(step, rate)]
        parts += [_column(name, value) for name, value in self._columns.items() if value is not None]
        if not self._is_live:
            self._write("  ".join(parts) + "\n")
            return
        width = shutil.get_terminal_size().columns - 1
        line = "  ".join(parts)
        while len(line) > width and parts:
            line = " ".join(parts).replace(" %", "%")
            parts.pop()
        self._line = line[:width]
        self._write(f"\r\x1b[K{self._line}")

    def _heading(self, step: int, rate: float) -> list[str]:
        epoch, _, _ = self._timetable.place(step)
        share = 100 * step / self._timetable.steps
        return [f"epoch {epoch}/{self._timetable.epochs}", f"{share:.0f} %", _rate(rate)]

    def _left(self, step: int, rate: float) -> str:
        """The time that is left of the present phase, and the steps of those that follow."""
        (phase, end), phases = self._timetable.phase(step), self._timetable.phases
        later = [(number, phases[number][0] * phases[number][1]) for number in range(phase + 1, len(phases))]
        return ", then ".join([_left(end - step, rate), *(f"{count} {self._timetable.unit(number)}" for number, count in later)])

    def _write(self, text: str) -> None:
        if self.is_cut_off or not current().is_first:
            return
        try:
            print(text, end="", file=self._file, flush=True)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.is_cut_off = True


class WorkProgress(Progress):
    """Progress of work of `total` steps without epochs: share done, time left, and the caller's columns."""

    def __init__(self, total: int, *, file: TextIO | None = None, clock: Callable[[], float] = working_time):
        super().__init__(Timetable(((1, total),)), file=file, clock=clock)

    def _heading(self, step: int, rate: float) -> list[str]:
        return [f"{100 * step / self._timetable.steps:.0f} %"]


def _rate(rate: float) -> str:
    if rate == 0:
        return "- steps/s"
    return f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step"


def _left(steps: int, rate: float) -> str:
    """Time that `steps` take at `rate` steps a second, as h:mm:ss."""
    if steps > 0 and rate == 0:
        return "-:--:-- left"
    return f"{clock(steps / rate if steps > 0 else 0)} left"


def shorten(line: str) -> str:
    """A line cut to the width of the terminal."""
    return line[: shutil.get_terminal_size().columns - 1]


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _column(name: str, value: Any) -> str:
    words, value = name.split("_"), value.tolist() if hasattr(value, "tolist") else value
    name = " ".join(words)
    if not isinstance(value, float):
        return f"{name} {value}"
    if "accuracy" in words or "acc" in words:
        return f"{name} {100 * value:.1f} %"
    is_plain = value == 0 or 1e-2 <= abs(value) < 1e4 or not math.isfinite(value)
    return f"{name} {value:.3f}" if is_plain else f"{name} {value:.2e}"
