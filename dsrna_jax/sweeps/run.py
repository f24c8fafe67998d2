"""Runs the jobs of a sweep: those that are not done, as many at once as the engine takes, again if they fail."""

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from dsrna_jax.runtime.progress import clock
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.sweeps.engines import Engine, Handle
from dsrna_jax.sweeps.jobs import Job
from dsrna_jax.sweeps.worker import JobState, log_file, record, state_of

_PATIENCE = 0.5  # seconds between looks at the jobs
Look = Callable[[Collection[str], Collection[str]], None]
"""Called with the names of the jobs that run and of those that wait, at every look at them."""


class Output(Protocol):
    """A text file that is written to, such as standard output."""

    def write(self, text: str, /) -> object:
        """Takes a text."""
        ...

    def flush(self) -> None:
        """Passes on what was written."""
        ...


class Swept(NamedTuple):
    """The end of a sweep: the state of each job, by name."""

    jobs: dict[str, JobState]

    @property
    def failed(self) -> list[str]:
        """Names of the jobs that did not succeed."""
        return [name for name, job in self.jobs.items() if job.state != "done"]


def run(
    jobs: Sequence[Job],
    sweep: Path,
    engine: Engine,
    retries: int = 1,
    file: Output | None = None,
    *,
    needs: Mapping[str, Collection[str]] | None = None,
    left: Callable[[Collection[str]], float | None] | None = None,
    look: Look = lambda running, waiting: None,
    ended: Callable[[str], None] = lambda name: None,
) -> Swept:
    """Runs all jobs that are not done yet; one that fails is started again up to `retries` times, and goes on where it was.

    SIGTERM, SIGHUP or Ctrl-C is passed on to the jobs, which save their work.

    Args:
      needs: by the name of a job, those that must be done before it starts; it never does if one of them fails.
      left: names -> the seconds that these jobs will take, or None if that is not known; by default those of the mean job so far.
      look: a display.
      ended: called with the name of each job that ends, as it ends.
    Raises: Stopped after such a signal, when all have ended.
    """
    needs = needs or {}
    out = sys.stdout if file is None else file
    before = {job.name: state_of(sweep, job.name) for job in jobs}
    waiting = deque(name for name, job in before.items() if job.state != "done")
    failures = dict.fromkeys(waiting, 0)
    running: dict[str, Handle] = {}
    is_stopping, began = False, time.time()
    _say(out, f"{len(waiting)} of {len(jobs)} jobs to do; output in {sweep / 'logs'}")
    with stop_requests() as requests:
        while running or waiting and not requests:
            while (ready := _ready(waiting, needs, before)) and len(running) < engine.capacity and not requests:
                waiting.remove(name := ready[0])
                record(sweep, name, before[name]._replace(state="waiting"))
                running[name] = engine.submit(sweep, name)
            if requests and not is_stopping:
                is_stopping = True
                _say(out, f"asked {len(running)} jobs to save their work and end")
                for handle in running.values():
                    handle.cancel()
            if not (running or ready):
                break  # what waits needs what failed
            for name in [name for name, handle in running.items() if handle.is_done()]:
                del running[name]
                before[name] = now = _ended(sweep, name)
                if now.state == "failed" and failures[name] < retries and not requests:
                    failures[name] += 1
                    waiting.append(name)
                names = [*waiting, *running]
                seconds = left(names) if left else _left(began, len(failures), len(names))
                after = f", about {clock(seconds)}" if names and seconds is not None else ""
                _say(out, f"{_told(sweep, name, now, name in waiting)}; {len(names)} left{after}")
                ended(name)
            look(running, waiting)
            time.sleep(_PATIENCE if running else 0)
    if requests:
        done = sum(job.state == "done" for job in before.values())
        raise Stopped(requests[0], f"stopped by {signal.Signals(requests[0]).name} with {done} of {len(jobs)} jobs done")
    return Swept({name: state_of(sweep, name) for name in before})


def _ended(sweep: Path, name: str) -> JobState:
    """The state in which a job ended: failed if its process left no word of its end."""
    now = state_of(sweep, name)
    if now.state in ("waiting", "running"):
        lost = f"its process on {now.host} was lost" if now.state == "running" else "it was not started"
        now = now._replace(state="failed", attempts=max(now.attempts, 1), ended=time.time(), message=lost)
        record(sweep, name, now)
    return now


def _told(sweep: Path, name: str, job: JobState, is_again: bool) -> str:
    if job.state != "failed":
        return f"{name} {job.state}"
    return f"{name} failed ({job.message}; {log_file(sweep, name)}){', and is started again' if is_again else ''}"


def _ready(waiting: Collection[str], needs: Mapping[str, Collection[str]], now: Mapping[str, JobState]) -> list[str]:
    """The jobs that may start."""
    return [name for name in waiting if all(now[other].state == "done" for other in needs.get(name, ()))]


def _left(began: float, count: int, left: int) -> float | None:
    """Seconds that the jobs that are left take at the rate so far, once one has ended."""
    ended = count - left
    return (time.time() - began) / ended * left if ended else None


def _say(out: Output, text: str) -> None:
    print(text, file=out, flush=True)
