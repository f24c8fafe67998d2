"""Graceful stops: the first SIGTERM, SIGHUP or Ctrl-C is a request, which a run reads between two steps."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from dsrna_jax.runtime.processes import current

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_LOST = 255  # in the place of a signal's number: Python has dropped the exception that it raised
GRACE = 10.0  # seconds that work has to come to an end after a signal


class Stopped(KeyboardInterrupt):
    """Raised by work that has stopped at the request of signal `number`; saved work can be resumed."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number


@contextlib.contextmanager
def stop_requests(signals=SIGNALS) -> Iterator[list[int]]:
    """Yields a list to which the first of `signals` appends its number; a second one acts as it did before this block.

    A signal that is ignored (as in the background of a shell, or under nohup) stays so. Outside of the main thread, where Python
    takes no signals, the list stays empty.
    """
    requests: list[int] = []

    def request(number, frame):
        requests.append(number)
        restore()

    with _handled(signals, request) as restore:
        yield requests


@contextlib.contextmanager
def ending(advice: Callable[[], str], grace: float = GRACE) -> Iterator[None]:
    """Ends this process soon after SIGTERM, SIGHUP or Ctrl-C, whatever it is doing in the block.

    Such a signal raises Stopped, or is a request inside `stop_requests`. Both need Python code to run, which XLA may not do for
    minutes while it compiles. So a thread ends the process with status 128 + n if it is still in the block `grace` seconds after
    the signal, or when a second signal comes. Unsaved work is then lost. Where Python drops exceptions, as in the callbacks of
    garbage collection that JAX has, the thread sends the signal again.

    Args:
      advice: returns the end of the last line on standard error: where the work is kept and how to go on.
    Raises: Stopped, that of the block with the advice in its message.
    """

    def stop(number, frame):
        raise Stopped(number, f"stopped by {signal.Signals(number).name}; what was saved is kept")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook

    def resend(lost):
        if isinstance(lost.exc_value, Stopped):
            os.write(writing, bytes([_LOST]))
        else:
            hook(lost)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watch = threading.Thread(target=_end_after_signal, args=(reading, advice, grace), name="signals", daemon=True)
    with _handled(SIGNALS, stop):
        # The C code that receives a signal writes its number there at once, even while the main thread is outside of Python.
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watch.start()
        sys.unraisablehook = resend
        try:
            yield
        except Stopped as stopped:
            raise Stopped(stopped.number, f"{stopped}{advice()}") from None
        finally:
            sys.unraisablehook = hook
            signal.set_wakeup_fd(before)
            os.write(writing, b"\0")
            watch.join()
            os.close(reading)
            os.close(writing)


@contextlib.contextmanager
def _handled(signals, handler):
    """In the block, `handler` handles those signals that were not ignored; yields a function that restores the old handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in signals}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}

    def restore():
        for number, old in before.items():
            signal.signal(number, old)

    for number in before:
        signal.signal(number, handler)
    try:
        yield restore
    finally:
        restore()


def _end_after_signal(reading: int, advice: Callable[[], str], grace: float) -> None:
    """Reads numbers of signals; ends the process, unless a zero says in time that the block is over. Sends lost ones again."""
    while (number := os.read(reading, 1)[0]) not in (0, *SIGNALS):
        pass
    limit, expected, received = time.monotonic() + grace, 0, number
    while received and select.select([reading], [], [], max(0.0, limit - time.monotonic()))[0]:
        received = os.read(reading, 1)[0]
        if received == _LOST and not select.select([reading], [], [], 0.05)[0]:
            expected += 1
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        elif received in SIGNALS:
            if not expected:
                break
            expected -= 1
    if received:
        line = f"stopped by {signal.Signals(number).name} while busy; what was saved is kept{advice()}"
        if current().is_first:
            with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
                print(line, file=sys.stderr, flush=True)
        current().leave(128 + number, line)
        os._exit(128 + number)
