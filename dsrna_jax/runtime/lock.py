"""The lock of a folder of results: one process at a time works in it."""

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.runtime.processes import current

LOCK = ".lock"  # a file in the folder, which names the process that has the lock
_HELD = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def locked(path: str | os.PathLike, flag: str) -> Iterator[None]:
    """Holds the lock of the folder `path` during the block; makes the folder, and removes it if it is empty at the end.

    The lock is the operating system's (flock), so it ends with the process, also when that is killed. Between machines it
    holds if their common file system supports it.

    Args:
      flag: the flag that names the folder, for messages.
    Raises: InputError, which names the process that holds the lock, or the fault of `path`.
    """
    folder = Path(path)
    check_path(folder, flag)
    if not current().is_first:  # process 0 holds it for all
        yield
        return
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder / LOCK, folder, flag):
            yield
    finally:
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()


@contextlib.contextmanager
def held(file: Path, what: Path, flag: str) -> Iterator[None]:
    """Holds the lock of `what` in the block, by the lock file `file`.

    Raises: InputError, which names the process that holds it.
    """
    try:
        import fcntl
    except ImportError:  # not Unix: no lock
        yield
        return
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if error.errno in _HELD:
                raise InputError(
                    f"{what} is in use by {holder}: wait until that has ended, stop it, or give another --{flag}"
                ) from None
            print(
                f"WARN: {what} cannot be locked ({error.strerror}): start no second process in it while this one runs",
                file=sys.stderr,
            )
            yield
            return
        if _is_at(file, descriptor):
            break
        os.close(descriptor)  # its holder removed it between our opening and locking it
    try:
        record = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(record).encode() + b"\n")
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """The process that holds a lock, in words."""
    try:
        record = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether the open file is the one of that path."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    return False
