"""A function in a process of its own, which ends where a call takes too long, and may end without harm to this one."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from dsrna_jax.parent import end_with_spawner

START = 300.0  # seconds for the process to begin


class Apart:
    """Calls a function in another process, which stays for the next call with all that it has imported and compiled.

    A call that takes too long, inside of a compiler or a solver too, is ended with its process; the next one starts another.
    The process ends with this one, also when that is killed, and not by signals that a terminal sends to both.

    make: a function of a module; it is called in the process, once, and returns the function. Its time is not that of a call.
    """

    def __init__(self, make: Callable[[], Callable[..., Any]]):
        self.make = make
        self.process: BaseProcess | None = None

    def __call__(self, *arguments: Any, seconds: float) -> Any:
        """The result of the function.

        Raises: TimeoutError after so many seconds; ChildProcessError if the process ended by itself; what the function raises.
        """
        if self.process is None or not self.process.is_alive():
            self._start()
        with contextlib.suppress(BrokenPipeError):  # then it has ended, which `_answer` says
            self.connection.send(arguments)
        return self._answer(seconds)

    def end(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None

    def _start(self) -> None:
        self.end()
        context = multiprocessing.get_context("spawn")  # a copy by fork would lack the threads of JAX
        self.connection, other = context.Pipe()
        process = self.process = context.Process(target=_serve, args=(self.make, other), daemon=True)
        process.start()
        other.close()
        self._answer(START)

    def _answer(self, seconds: float) -> Any:
        """The answer that the process sends within so many seconds."""
        assert self.process is not None
        try:
            if not self.connection.poll(seconds):
                raise TimeoutError(f"no answer within {seconds:g} s")
            result, error = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise ChildProcessError(f"its process ended by {_ending(self.process.exitcode)}") from None
        except BaseException:
            self.end()  # else a late answer would be taken for that of the next call
            raise
        if error is not None:
            raise error
        return result


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    out_of_memory = ", as where memory runs out" if code == -signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{out_of_memory}"


def _serve(make: Callable[[], Callable[..., Any]], connection: Connection) -> None:
    """Answers calls until the other process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_spawner, daemon=True).start()
    function = make()
    connection.send((None, None))
    with contextlib.suppress(EOFError):
        while True:
            arguments = connection.recv()
            try:
                answer = function(*arguments), None
            except Exception as error:
                error.add_note(f"In its process:\n{traceback.format_exc()}")
                answer = None, error
            try:
                connection.send(answer)
            except Exception as error:  # of what cannot be pickled
                connection.send((None, RuntimeError(f"the answer cannot be pickled: {type(error).__name__}: {error}")))
    os._exit(0)  # without waiting for threads
