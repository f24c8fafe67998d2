"""The processes of one run, on one host or many: all follow the decisions of process 0, and all end together.

JAX computes in all of them alike, so they must take the same steps and stop at the same one. Process 0, the coordinator,
keeps the records and speaks to the user; the others, its workers, follow it. They communicate over
connections of their own (`links`), since collectives of JAX would wait for ever for a process that has failed. `joining` makes
them.
"""

import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.links import Link
from dsrna_jax.runtime.options import differences

Item = TypeVar("Item")
GRACE = 10.0  # seconds that process 0 has to end in order after another process has failed
_LOST = "is lost: it ended without a word, is stopped, or its host cannot be reached"
_PATIENCE = 3.0  # seconds in which the news of a lost process may come after the error that its loss causes


class EndedError(RuntimeError):
    """Raised in process 0 when another process has ended, and the run with it; its text is the line for the user.

    status: the exit status for all, 128 + n after signal n: then the line does not speak of an error.
    """

    def __init__(self, status: int, line: str):
        super().__init__(line if status > 128 else f"error: {line}")
        self.status = status


class Processes:
    """All processes of this run, as one of them sees them; this class is for the usual run in one process.

    index: number of this process.
    count: number of processes.
    """

    index, count = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which writes files and speaks to the user."""
        return self.index == 0

    def decided(self, value: Any) -> Any:
        """The JSON value with which process 0 calls this. All must call it, in the same order."""
        return value

    def gathered(self, value: Any) -> list[Any]:
        """The JSON values with which the processes call this. All must call it, in the same order."""
        return [value]

    def shared_out(self, work: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        """Yields each item once with `work(item)`, a JSON value; of `count` processes each works on every `count`-th item.

        All must go through it, to its end, with the same items. Process 0 gets the results of the others while it works on its
        own, the others get theirs at the end.
        """
        for item in items:
            yield item, work(item)

    def stop_request(self, number: int) -> int:
        """The number of a signal that asks one of the processes to stop, the same for all; 0 without a signal.

        Args: number: of the signal that this process has received, or 0.
        """
        return number

    def agree(self, what: str, facts: dict[str, Any]) -> None:
        """Raises: InputError, in all processes, unless they have called this with the same `facts`."""
        first, *others = self.gathered(facts)
        for index, other in enumerate(others, start=1):
            if changed := differences(first, other):
                raise InputError(
                    f"process {index} has another {what} than process 0 ({'; '.join(changed)}): start all processes with the same"
                )

    def fail_together(self, error: InputError | None) -> None:
        """Raises: InputError, in all processes, if one of them calls this with an error; all must call it."""
        lines = self.gathered(f"process {self.index} of {self.count} on {socket.gethostname()}: {error}" if error else "")
        if line := next(filter(None, lines), ""):
            raise InputError(line if self.count > 1 else str(error)) from error

    def cause(self, error: Exception) -> Exception:
        """The reason of an unexpected error: `EndedError` if another process has ended, since collectives then fail."""
        return error

    def leave(self, status: int, line: str = "") -> None:
        """Ends the part of this process in the run, before it exits.

        Args: line: the message for the user, if this process has failed.
        """


class Coordinator(Processes):
    """Process 0, with a link to each of its workers."""

    def __init__(self, links: Sequence[Link], hosts: Sequence[str]):
        self.count = len(links) + 1
        self._links, self._hosts = links, hosts
        self._values = [queue.SimpleQueue() for _ in links]
        self._done = [threading.Event() for _ in links]
        self._request = 0
        self._ended: EndedError | None = None
        self._failing, self._is_leaving = threading.Lock(), threading.Event()
        self._listeners = [threading.Thread(target=self._listen, args=(i,), daemon=True) for i in range(len(links))]
        for listener in self._listeners:
            listener.start()

    def decided(self, value: Any) -> Any:
        """The value itself, which all other processes get. Raises: EndedError if one of them has ended."""
        if self._ended:
            raise self._ended
        for link in self._links:
            link.send(decided=value)
        return value

    def gathered(self, value: Any) -> list[Any]:
        return self.decided([value, *map(self._next, self._values)])

    def shared_out(self, work: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        results = {}
        awaited = [deque(range(worker + 1, len(items), self.count)) for worker in range(len(self._links))]

        def arrived(is_last: bool) -> Iterator[tuple[Item, Any]]:
            for numbers, values in zip(awaited, self._values, strict=True):
                while numbers and (is_last or not values.empty()):
                    number = numbers.popleft()
                    results[number] = self._next(values)
                    yield items[number], results[number]

        for number in range(0, len(items), self.count):
            results[number] = work(items[number])
            yield items[number], results[number]
            yield from arrived(is_last=False)
        yield from arrived(is_last=True)
        for number in range(len(items)):
            self.decided(results[number])

    def stop_request(self, number: int) -> int:
        return self.decided(number or self._request)

    def cause(self, error: Exception) -> Exception:
        deadline = time.monotonic() + _PATIENCE
        while self._ended is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._ended or error

    def leave(self, status: int, line: str = "") -> None:
        """Returns when the workers have exited, or take too long to."""
        self._is_leaving.set()
        deadline = time.monotonic() + GRACE
        if status == 0:
            for done in self._done:
                done.wait(max(deadline - time.monotonic(), 0))
        for link in self._links:
            link.send(exit=status)
        for listener in self._listeners:
            if listener is not threading.current_thread():
                listener.join(max(deadline - time.monotonic(), 0))

    def _next(self, values: queue.SimpleQueue) -> Any:
        value = values.get()
        if isinstance(value, EndedError):
            raise value
        return value

    def _listen(self, worker: int) -> None:
        """Receives the messages of a worker, until it is gone."""
        while (message := self._links[worker].receive()) is not None:
            if "value" in message:
                self._values[worker].put(message["value"])
            elif "request" in message:
                self._request = self._request or message["request"]
            elif "ended" in message:
                self._done[worker].set()
                if message["ended"]:
                    self._fail(message["ended"], f"{self._name(worker)}: {message['line'].removeprefix('error: ')}")
        if not self._done[worker].is_set():
            self._fail(1, f"{self._name(worker)} {_LOST}")

    def _name(self, worker: int) -> str:
        return f"process {worker + 1} of {self.count} on {self._hosts[worker]}"

    def _fail(self, status: int, line: str) -> None:
        """Lets `EndedError` be raised in the main thread; if that is busy for too long, ends all processes from here."""
        with self._failing:
            if self._ended is not None:
                return
            self._ended = EndedError(status, line)
        for values in self._values:
            values.put(self._ended)
        if not self._is_leaving.wait(GRACE):
            print(self._ended, file=sys.stderr, flush=True)
            self.leave(status)
            _exit(status)


class Worker(Processes):
    """A process other than 0; it exits as soon as process 0 says so or is lost, whatever it is doing."""

    def __init__(self, link: Link, index: int, count: int):
        self.index, self.count = index, count
        self._link, self._decisions, self._has_asked = link, queue.SimpleQueue(), False
        _delay_aborts()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def decided(self, value: Any) -> Any:
        return self._decisions.get()

    def gathered(self, value: Any) -> list[Any]:
        self._link.send(value=value)
        return self.decided(None)

    def shared_out(self, work: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        for number in range(self.index, len(items), self.count):
            result = work(items[number])
            self._link.send(value=result)
            yield items[number], result
        for number, item in enumerate(items):
            result = self.decided(None)
            if number % self.count != self.index:
                yield item, result

    def stop_request(self, number: int) -> int:
        if number and not self._has_asked:
            self._has_asked = True
            self._link.send(request=number)
        return self.decided(0)

    def cause(self, error: Exception) -> Exception:
        time.sleep(_PATIENCE)  # process 0 may know the reason, and end this process
        return error

    def leave(self, status: int, line: str = "") -> None:
        """After an error returns at once, so that process 0 does not wait for this one in a collective; else does not return."""
        self._link.send(ended=status, line=line)
        self._listener.join(None if status == 0 else 0.5)

    def _listen(self) -> None:
        while (message := self._link.receive()) is not None:
            if "decided" in message:
                self._decisions.put(message["decided"])
            elif "exit" in message:
                return _exit(message["exit"])
        if self.index == 1:  # one of them speaks, now that process 0 cannot
            print(f"error: process 0 {_LOST}", file=sys.stderr)
        _exit(1)


def _delay_aborts() -> None:
    """Lets SIGABRT wait for some seconds: JAX aborts a process that has lost process 0, which can also exit with a line.

    The handler is C's `sleep`, which takes the number of the signal, 6, for seconds; it runs in the thread that aborts.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


_state = {"current": Processes()}


def current() -> Processes:
    """The processes of the run that this one belongs to."""
    return _state["current"]


def become(processes: Processes) -> None:
    """Sets the processes that `current` returns."""
    _state["current"] = processes


def _exit(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
