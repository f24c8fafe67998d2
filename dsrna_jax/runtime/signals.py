"""Graceful stops: the first SIGTERM or Ctrl-C is a request, which a run reads between two steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stopped(KeyboardInterrupt):
    """Raised by a run that has stopped and saved at the request of signal `number`; it can be resumed."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number


@contextlib.contextmanager
def stop_requests(signals=(signal.SIGINT, signal.SIGTERM)) -> Iterator[list[int]]:
    """Yields a list to which the first of `signals` appends its number; a second one acts as it did before this block.

    A signal that is ignored (as in the background of a shell) stays so. Outside of the main thread, where Python takes
    no signals, the list stays empty.
    """
    requests: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(number, frame):
        requests.append(number)
        restore()

    before = {number: signal.getsignal(number) for number in signals}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, request)
    try:
        yield requests
    finally:
        restore()
