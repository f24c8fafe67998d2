"""A run from beginning to end, or from where it stopped, in its folder."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar

from jax.sharding import Mesh

from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.epoch_log import EpochLog
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.log_writers import check_installed
from dsrna_jax.runtime.loop import RunLoop
from dsrna_jax.runtime.machine import machine
from dsrna_jax.runtime.origin import origin
from dsrna_jax.runtime.progress import Progress
from dsrna_jax.runtime.records import Records
from dsrna_jax.runtime.run_folder import RunFolder, identity
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.signals import Stopped, stop_requests

Loop = TypeVar("Loop", bound=RunLoop)


def run(
    setup_of: Callable[[], RunSetup],
    loop_of: Callable[[Any, Any, Mesh, Progress], Loop],
    folder: RunFolder,
    config: Any,
    *,
    resume: bool,
    devices: int,
    file: TextIO | None,
    log: Sequence[str] = (),
) -> Loop:
    """Runs from beginning to end, or from where the run in `folder` stopped; returns the loop at its end.

    Args:
      setup_of: loads the data and builds the setup.
      loop_of: the subclass of `RunLoop`.
      log: names in `log_writers.BACKENDS` of the logs that get the rows of metrics.jsonl too.
    Raises: InputError; FloatingPointError as soon as a loss or gradient is not finite; OSError if the disk is full;
      Stopped after SIGTERM or Ctrl-C, once the step has ended and been saved.
    """
    began, processes = time.monotonic(), joined()
    mesh = sharding.mesh(devices)
    for name in ("batch_size", "microbatch"):
        if size := getattr(config, name, 0):
            sharding.check_divides(size, mesh, name)
    if processes.is_first:
        check_installed(tuple(log))
        folder.check(resume)
    setup = setup_of()
    processes.agree("configuration or data set", identity(setup.resolved) | {"data labels": setup.label_digest})
    folder.claim(setup.resolved, machine(mesh))
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(setup.timetable, file=file))
        progress.note(setup.summary)
        progress.note(setup.loading)
        progress.note(f"compiling for {sharding.described(mesh)} (minutes the first time, seconds from the cache)")
        loop = loop_of(setup, folder, mesh, progress)
        if resume:
            loop.restore()
        else:
            loop.start()
        log = log if processes.is_first else ()
        epoch_log = EpochLog(log, folder.path, dataclasses.asdict(config), resume, progress.note)
        stack.callback(epoch_log.close)
        epoch_log.follow()
        loop.after_epoch.append(epoch_log.follow)
        loop.wait()
        ready, first = time.monotonic(), loop.step
        progress.note(f"ready after {ready - began:.0f} s")
        try:
            with stop_requests() as requests:
                loop.finish(requests)
        except Stopped as stopped:
            folder.write_page(f"{stopped}; go on by {folder.resume_command()}")
            raise
        finally:
            loop.feed.close()
            row = {"first_step": first, "step": loop.step, **machine(mesh), **origin()}
            seconds = {"setup_s": ready - began, f"{config.experiment}_s": time.monotonic() - ready}
            timing = Records(folder.path / "timing.jsonl", is_written=processes.is_first)
            timing.write(row | {name: round(s, 1) for name, s in seconds.items()})
    return loop
