"""The time that a thread spends on its work, without tracing and compilation: these happen once and do not predict the rest."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_COMPILING = "/jax/core/compile/"  # prefix of events of JAX's monitoring; undocumented, so a test checks it

_spent = threading.local()  # .seconds; .intervals, ends of a disjoint union of them, ascending


def working_time() -> float:
    """Seconds on a clock that stands still while this thread traces or compiles a function."""
    return time.monotonic() - compiling_time()


def compiling_time() -> float:
    """Seconds that this thread has spent on tracing and compiling since the first call in the process."""
    _listen()
    return getattr(_spent, "seconds", 0.0)


class PausableClock:
    """A clock, in seconds, that also stands still while a block of code runs; blocks must not overlap."""

    def __init__(self, clock: Callable[[], float] = working_time):
        self._clock, self._paused = clock, 0.0

    def __call__(self) -> float:
        return self._clock() - self._paused

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count the time that the block takes."""
        began = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - began


@functools.cache
def _listen() -> None:
    """Registers, once in a process, the listener that counts."""
    import jax  # takes a second, which those who only format a duration need not wait for

    def listener(event: str, duration_secs: float, **_: Any):
        if not event.startswith(_COMPILING):
            return
        end = time.monotonic()
        begin, intervals = end - duration_secs, getattr(_spent, "intervals", [])
        # The whole of a compilation is reported after its parts, each of which lies inside it.
        while intervals and intervals[-1][0] >= begin:
            first, last = intervals.pop()
            _spent.seconds -= last - first
        begin = max(begin, intervals[-1][1]) if intervals else begin
        _spent.intervals = [*intervals[-8:], (begin, end)]
        _spent.seconds = getattr(_spent, "seconds", 0.0) + end - begin

    jax.monitoring.register_event_duration_secs_listener(listener)
