"""The loop of every run: draw a batch by number, take a step, read the metrics of the step before, save, stop on request."""

import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import Any

import jax
from jax.sharding import Mesh

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import compilation, sharding
from dsrna_jax.runtime.device_data import on_devices
from dsrna_jax.runtime.feeds import feed
from dsrna_jax.runtime.machine import machine, warning
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.progress import Progress
from dsrna_jax.runtime.run_folder import RunFolder
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.signals import Stopped

_PICTURES_EVERY = 20.0  # seconds, at least
_SAVED_EVERY = 600.0  # seconds, at most: what a long epoch loses if the process, or another of the run, is killed


class RunLoop(ABC):
    """The state of a run between two steps. Each checkpoint holds everything that decides its course.

    A subclass implements the abstract methods for one kind of run; `programs` holds its compiled functions, as futures.
    """

    remedy = "start anew"  # advice in the error message when a number is not finite
    rare: tuple[str, ...] = ()  # names of programs that run once in some epochs

    def __init__(self, setup: RunSetup, folder: RunFolder, mesh: Mesh, progress: Progress):
        self.setup, self.config, self.folder, self.mesh, self.progress = setup, setup.config, folder, mesh, progress
        self.processes, self.timetable = current(), setup.timetable
        folder.checkpoints.lasts = self.timetable.is_end
        self.data, self.feed = on_devices(setup.data, mesh), feed(setup, mesh)
        self.key = sharding.placed(jax.random.key(self.config.seed), sharding.replicated(mesh))
        functions, arguments = self.uncompiled()
        self.abstract_state = next(iter(arguments.values()))[0]
        self.programs = compilation.compiled(functions, arguments, mesh, setup.identity, self.rare)
        self.step = 0
        self.sums: dict[str, float] = {}  # of the metrics of this epoch's steps
        self.unread: dict[str, jax.Array] | None = None  # the metrics of the last step, which may still be running
        self.row: dict[str, Any] = {}  # the metrics of the last epoch
        self.after_epoch: list[Callable[[], None]] = []  # called when the row of an epoch and its checkpoint are written
        self.is_over = False  # whether it ends before its last epoch
        self._next_pictures = time.monotonic() + _PICTURES_EVERY
        self._saved = 0  # the step of the last checkpoint; there is none of step 0
        self._next_save = time.monotonic() + _SAVED_EVERY
        self._compiled: set[str] = set()  # the programs that have been waited for
        self.state: Any = None

    @abstractmethod
    def uncompiled(self) -> tuple[Any, dict[str, tuple]]:
        """A named tuple of the functions to compile, and the shapes of their arguments by name; the state comes first in each."""

    @abstractmethod
    def begin(self) -> None:
        """Makes the state before the first step, and the files that go with it."""

    @abstractmethod
    def resume(self, metadata: dict[str, Any]) -> None:
        """Takes over the metadata of a checkpoint; the state is restored already."""

    @abstractmethod
    def needed(self, step: int) -> dict[str, Any]:
        """The programs that step `step` (from 0) needs, and the end of its epoch if it is the last, by their names for users."""

    @abstractmethod
    def take_step(self) -> dict[str, jax.Array]:
        """Moves the state by one step and returns its metrics, which the devices may still be computing."""

    @abstractmethod
    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, Any]:
        """Evaluates and writes the files of the epoch that is over; its row, given the `means` of its steps' metrics."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """The metadata of a checkpoint beside the resolved configuration, as JSON."""

    @abstractmethod
    def columns(self, means: dict[str, float]) -> dict[str, Any]:
        """Columns of the progress line, from the means of this epoch so far, or from the row of the epoch that has just ended."""

    @abstractmethod
    def draw(self) -> None:
        """Draws pictures of the run so far, if it has any."""

    @property
    def total(self) -> int:
        """Number of steps of the whole run."""
        return self.timetable.steps

    def start(self) -> None:
        """Begins with the first step."""
        self.folder.rewind(-1)
        self.begin()

    def restore(self) -> None:
        """Goes on from the newest good checkpoint, or begins if none was ever saved."""

        def misfit(step: int, metadata: dict[str, Any]) -> str | None:
            if metadata.get("labels", self.setup.label_digest) != self.setup.label_digest:
                raise InputError(
                    f"{self.setup.dataset.name} has other labels than when step {step} in {self.folder.path} was saved, or "
                    "images in another order: put back the data with which that run began"
                )
            return self.folder.misfit(step, metadata, self.setup.resolved, self.timetable)

        resumed = self.folder.checkpoints.latest(self.abstract_state, misfit)
        if resumed is None:
            self.progress.note("no checkpoint has been saved yet: starting from the beginning")
            return self.start()
        for line in resumed.skipped:
            self.progress.note(f"WARN: {line}; nothing to do: the steps after the checkpoint before it are taken again")
        if other := warning(resumed.metadata.get("machine"), machine(self.mesh)):
            self.progress.note(other)
        self.step, self.state, self.sums = resumed.step, resumed.state, resumed.metadata["sums"]
        self.is_over, self._saved = resumed.metadata.get("is_over", False), resumed.step
        self.resume(resumed.metadata)
        self.folder.rewind(self.step)
        self.progress.note(f"resuming after step {self.step} of {self.total}")

    def wait(self) -> None:
        """Returns when the programs that the next step needs are compiled."""
        if self.step < self.total:
            for program in self.needed(self.step).values():
                program.result()

    def finish(self, requests: Sequence[int]) -> None:
        """Takes the steps that are left, unless `requests` gets a signal's number: then saves and raises Stopped.

        It stops likewise, as if by SIGPIPE, when nobody reads its progress any more.
        """
        if self.sums and self.timetable.is_end(self.step):  # stopped while the epoch was being evaluated
            self._keeping(self._end_epoch)
        while self.step < self.total and not self.is_over:
            self._wait_unless(requests)
            metrics = self._keeping(self.take_step)
            self._read()  # the step before; this one runs meanwhile
            self.step, self.unread = self.step + 1, metrics
            is_epoch_over = self.timetable.is_end(self.step)
            if is_epoch_over or requests:
                self._read()
            if is_epoch_over:
                self._keeping(self._end_epoch)
            self._report()
            self._stop_if_asked(requests)
            self._save_if_due()

    def _wait_unless(self, requests: Sequence[int]) -> None:
        """Returns when the programs of the next step are compiled. Raises: Stopped as soon as there is a request."""
        needed = self.needed(self.step)
        if self._compiled >= needed.keys():
            return
        if missing := [name for name, program in needed.items() if not program.done()]:
            self.progress.note(f"waiting for the {' and the '.join(missing)} to be compiled")
        with self.progress.paused():
            while self.processes.decided(bool(wait(needed.values(), timeout=0.2).not_done)):
                self._stop_if_asked(requests)
            wait(needed.values())  # process 0 may have been faster
        self._compiled |= needed.keys()

    def _stop_if_asked(self, requests: Sequence[int]) -> None:
        """If a process is asked to stop: saves the last step, if there was one, and raises Stopped."""
        cut_off = signal.SIGPIPE if self.progress.is_cut_off else 0
        asked = self.processes.stop_request(requests[0] if requests else cut_off)
        if not asked:
            return
        self._read()
        if self.step != self._saved:
            self.save()
        number = signal.Signals(asked)
        done = f"after step {self.step} of {self.total}, which is saved" if self.step else "before the first step"
        raise Stopped(number, f"stopped by {number.name} {done}")

    def _save_if_due(self) -> None:
        """Saves the last step inside an epoch, if the last checkpoint is `_SAVED_EVERY` old by the clock of process 0."""
        if self.processes.decided(time.monotonic() >= self._next_save) and self.step != self._saved:
            self._read()
            self.save()

    def _keeping(self, work: Callable[[], Any]) -> Any:
        """The result of `work`. If images cannot be read in it, the steps before it are saved, and the error says so.

        Of several processes one may be unable to read; feeds raise its error in all of them.
        """
        try:
            return work()
        except InputError as error:
            self._read()
            if self.step and self.step != self._saved:
                self.save()
            done = f"step {self.step} of {self.total} is saved" if self.step else "no step was taken"
            raise InputError(f"{error}; {done}: resume when that is mended") from error

    def check_finite(self, name: str, value: float) -> None:
        """Raises: FloatingPointError, which names the step and the last good checkpoint, unless `value` is finite."""
        if math.isfinite(value):
            return
        good = self.folder.checkpoints.steps
        kept = f"the last good checkpoint is step {good[-1]}" if good else "no checkpoint was saved before"
        epoch, _, _ = self.timetable.place(self.step)
        raise FloatingPointError(
            f"{name.replace('_', ' ')} is {value} at step {self.step} (epoch {epoch}): expected a finite number; "
            f"{kept} in {self.folder.path}; {self.remedy}"
        )

    def sums_over(self, part: str, evaluate: Callable, *more: Any, again: bool = False) -> list[float]:
        """Sums over the images of a part of each output of `evaluate(state, data, batch, counts, *more)`.

        Args: again: whether it is soon called again for that part.
        """
        batches = self.feed.evaluation(part, again)
        sums = [evaluate(self.state, self.data, batch, counts, *more) for batch, counts in batches]
        return [sum(map(float, column)) for column in zip(*sums, strict=True)]

    def save(self) -> None:
        """Writes a checkpoint of this step."""
        common = {"sums": self.sums, "is_over": self.is_over, "machine": machine(self.mesh), "labels": self.setup.label_digest}
        if self.folder.is_written:
            common["records"] = self.folder.digests(self.step)
        self.folder.checkpoints.save(self.step, self.state, {**self.setup.resolved, **common, **self.metadata()})
        self._saved, self._next_save = self.step, time.monotonic() + _SAVED_EVERY

    def _read(self) -> None:
        """Adds the metrics of the last step to the sums of its epoch."""
        metrics = {name: float(value) for name, value in jax.device_get(self.unread or {}).items()}
        for name in sorted(metrics, key=lambda name: "loss" not in name):  # losses first: the most useful in an error
            self.check_finite(name, metrics[name])
        self.sums |= {name: self.sums.get(name, 0.0) + value for name, value in metrics.items()}
        self.unread = None

    def _end_epoch(self) -> None:
        epoch, _, length = self.timetable.place(self.step)
        means = {name: total / length for name, total in self.sums.items()}
        self.row = {"epoch": epoch, "step": self.step, **self.end_epoch(epoch, means)}
        self.sums = {}
        self.folder.metrics.write(self.row)
        self.save()
        with self.progress.paused():
            for call in self.after_epoch:
                call()
        self._show(epoch)

    def _show(self, epoch: int) -> None:
        """Writes the page of the run, with new pictures if these take at most a twentieth of the time."""
        if not self.folder.is_written:
            return
        began = time.monotonic()
        if began >= self._next_pictures:
            with self.progress.paused():
                self.draw()
            self._next_pictures = began + max(_PICTURES_EVERY, 20 * (time.monotonic() - began))
        self.folder.write_page(f"running: epoch {epoch} of {self.timetable.epochs} is done", is_running=True)

    def _report(self) -> None:
        """Shows the means of this epoch so far, or those of the epoch that has just ended."""
        _, done, _ = self.timetable.place(self.step)
        read = done - (self.unread is not None)
        means = {name: total / read for name, total in self.sums.items()} if self.sums and read else self.row
        self.progress.update(self.step, **self.columns(means), **self.feed.columns)
