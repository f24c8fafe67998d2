"""One job of a sweep in a process of its own: runs the command, keeps its output, and records how it went.

`python -m dsrna_jax.sweeps.worker SWEEP NAME`, on the machine on which the job is to run.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.parent import end_with_parent, of_this_process
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.paths import is_begun
from dsrna_jax.strict_json import Nullable, Optional
from dsrna_jax.sweeps.jobs import Job, directory, kept

_PATIENCE = 60.0  # seconds that a process may take to save its work
STATES = frozenset(["waiting", "running", "done", "failed", "stopped"])
_SHAPE = {
    "state": STATES, "attempts": int, "began": Nullable(float), "ended": Nullable(float), "host": str, "message": str,
    "spent": Optional(float),
}  # fmt: skip


class JobState(NamedTuple):
    """The state of a job.

    attempts: how often it was started.
    began, ended: seconds since 1970 of the last attempt.
    host: name of the machine.
    message: the last line of the command's output, if it failed.
    spent: seconds of the attempts before that, but for those whose end nobody saw.
    """

    state: str = "waiting"
    attempts: int = 0
    began: float | None = None
    ended: float | None = None
    host: str = ""
    message: str = ""
    spent: float = 0.0

    def seconds(self, now: float) -> float:
        """Seconds of all attempts until the time `now`, if the last goes on."""
        last = 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began
        return self.spent + max(0.0, last)


def log_file(sweep: Path, name: str) -> Path:
    """The output of a job, of all attempts."""
    return sweep / "logs" / f"{name}.txt"


def state_of(sweep: Path, name: str) -> JobState:
    """The state of a job, as it was last recorded. Raises: InputError if the record is garbled."""
    try:
        return JobState(**{key: value for key, value in strict_json.read(_file(sweep, name), _SHAPE).items() if key in _SHAPE})
    except (FileNotFoundError, NotADirectoryError):
        return JobState()


def record(sweep: Path, name: str, state: JobState) -> None:
    """Records the state of a job."""
    _file(sweep, name).parent.mkdir(parents=True, exist_ok=True)
    write_whole(_file(sweep, name), json.dumps(state._asdict()) + "\n")


def run_job(sweep: str | os.PathLike, name: str) -> int:
    """Runs a job, or goes on with what it has done, and returns the exit status of its command.

    SIGTERM, or an exception such as KeyboardInterrupt, is passed on as one SIGTERM, after which the command saves its work.
    A process of the job that is still saving its work, after the sweep that started it was killed, is waited for.
    Raises: InputError if the sweep has no such job, or another process has it for too long; the exception.
    """
    sweep = Path(sweep).absolute()
    job = {job.name: job for job in kept(sweep)}.get(name)
    if job is None:
        raise InputError(f"{sweep} has no job {name}")
    with _alone(sweep, name):
        return _run(job, sweep)


def _run(job: Job, sweep: Path) -> int:
    name = job.name
    now, before = time.time(), state_of(sweep, name)
    spent = before.spent if before.ended is None else before.seconds(now)
    state = JobState("running", before.attempts + 1, now, host=socket.gethostname(), spent=spent)
    record(sweep, name, state)
    try:
        status = _status(job, sweep)
    except BaseException as error:
        record(sweep, name, state._replace(state="stopped", ended=time.time(), message=type(error).__name__))
        raise
    outcome = "done" if status == 0 else "stopped" if status in (128 + signal.SIGTERM, -signal.SIGTERM) else "failed"
    message = "" if status == 0 else _last_line(log_file(sweep, name)) or f"exit status {status}"
    record(sweep, name, state._replace(state=outcome, ended=time.time(), message=message))
    return status


@contextlib.contextmanager
def _alone(sweep: Path, name: str):
    """Holds the lock of a job in the block, for which it waits `_PATIENCE` seconds."""
    limit = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(_file(sweep, name).with_suffix(".lock"), "run_dir"))
                break
            except InputError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.2)
        yield


def _status(job: Job, sweep: Path) -> int:
    command = [sys.executable, "-m", "dsrna_jax", *job.arguments(sweep)]
    command += ["--resume"] if is_begun(job.folder(sweep)) else []
    log = log_file(sweep, job.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        # In a session of its own, so that Ctrl-C of a terminal does not reach it beside what is passed on: a second signal kills.
        process = subprocess.Popen(
            command, cwd=directory(sweep), env={**os.environ, **of_this_process()}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip
        with _passed_on(process):
            return process.wait()


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen):
    """Ends the process by one SIGTERM if this one gets SIGTERM, or an exception is raised in the block; it is waited for."""
    is_asked = False

    def end(*_):
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            process.terminate()

    before = None
    with contextlib.suppress(ValueError):  # Python takes signals in the main thread only
        before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BaseException:
        end()
        process.wait()
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _file(sweep: Path, name: str) -> Path:
    return sweep / "jobs" / f"{name}.json"


def _last_line(log: Path) -> str:
    """The last line of a file, at most 300 characters."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


if __name__ == "__main__":
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the sweep decides, and sends SIGTERM
    sys.exit(min(abs(run_job(sys.argv[1], sys.argv[2])), 255))
