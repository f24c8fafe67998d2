"""Processes that end with the one that started them, also when that is killed and can tell nobody."""

import multiprocessing
import os
import signal
import threading
import time

PARENT = "DSRNA_JAX_PARENT"
"""The environment variable that names the process with which a process that it starts must end."""

_EVERY = 1.0  # seconds between looks at it


def of_this_process() -> dict[str, str]:
    """The environment variable for processes that must end with this one."""
    return {PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Sends this process SIGTERM, so that it saves its work, once the process that `PARENT` names is not its parent any more.

    Processes that this one starts do not inherit the variable.
    """
    parent = os.environ.pop(PARENT, "")
    if parent.isdecimal():
        threading.Thread(target=_watch, args=(int(parent),), name="parent", daemon=True).start()


def end_with_spawner() -> None:
    """Ends this process, which `multiprocessing` started, at once when that process ends; for a thread, since it waits."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
