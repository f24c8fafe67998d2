"""The processes of a run as threads of this one, so that commands which share their work can be tested without starting any.

Where process 0 fails, the others would wait for ever here: in processes of their own they end.
"""

import socket
import threading
from collections.abc import Callable

from dsrna_jax.commands.process import status
from dsrna_jax.runtime import processes
from dsrna_jax.runtime.links import Link
from dsrna_jax.runtime.processes import Coordinator, Processes, Worker


class _OfThread(threading.local):
    """In place of the state of the module: each thread belongs to its own process."""

    def __init__(self):
        self.current = Processes()

    def __getitem__(self, name):
        return getattr(self, name)

    def __setitem__(self, name, value):
        setattr(self, name, value)


def together(monkeypatch, count: int, work: Callable[[], object]) -> list:
    """The results of `work` in each of `count` processes."""
    monkeypatch.setattr(processes, "_state", _OfThread())
    monkeypatch.setattr(processes, "_exit", lambda status: links[threading.current_thread()].close())
    monkeypatch.setattr(processes, "_delay_aborts", lambda: None)
    pairs, results, links = [socket.socketpair() for _ in range(1, count)], [None] * count, {}

    def run(index):
        if index:
            link = Link(pairs[index - 1][1])
            worker = Worker(link, index, count)
            links[worker._listener] = link
            processes.become(worker)
        else:
            processes.become(Coordinator([Link(here) for here, _ in pairs], ["host"] * len(pairs)))
        results[index] = work()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    for connection in sum(pairs, ()):
        connection.close()
    return results


def statuses(monkeypatch, count: int, main: Callable, *arguments) -> list[int]:
    """The exit statuses of a command in each of `count` processes."""
    return together(monkeypatch, count, lambda: status(main, list(map(str, arguments))))
