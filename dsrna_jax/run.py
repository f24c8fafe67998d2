"""A search from beginning to end, or from where it stopped: compiled steps, the loop, and what it leaves behind."""

import math
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, TextIO

import jax
from jax.sharding import Mesh

from dsrna_jax import genotype as genotypes
from dsrna_jax import programs, sharding
from dsrna_jax.config import SearchConfig
from dsrna_jax.genotype import CELLS, Genotype, skip_count
from dsrna_jax.interruption import Stopped, stop_requests
from dsrna_jax.records import Progress, Records
from dsrna_jax.run_folder import RunFolder
from dsrna_jax.search import weight_rate
from dsrna_jax.task import Task, task


def run(
    config: SearchConfig,
    path: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
) -> Genotype:
    """Searches, with everything that is found and recorded in the run folder `path`; returns the last genotype.

    Each step moves the alphas, except in the warm-up epochs, and then the weights. A checkpoint follows every epoch.
    With `resume` the run goes on from its newest good checkpoint, and ends as if it had never stopped, bit for bit on
    the same machine.

    Args:
      devices: how many devices share a batch; 0 for all.
      file: where progress goes, by default standard output.
    Raises: InputError; FloatingPointError as soon as a loss or gradient is not finite; OSError if the disk is full;
      Stopped after SIGTERM or Ctrl-C, once the step has ended and been saved.
    """
    began = time.monotonic()
    mesh = sharding.mesh(devices)
    sharding.check_divides(config.batch_size, mesh)
    folder = RunFolder(path)
    folder.check(resume)
    job = task(config)
    folder.claim(job.resolved)
    with Progress(config.epochs, job.steps_per_epoch, file=file) as progress:
        progress.note(f"{config.dataset}: {len(job.dataset)} images, half of them for the weights, half for the alphas")
        progress.note(f"compiling for {sharding.described(mesh)} (minutes the first time, seconds from the cache)")
        loop = Loop(job, folder, mesh, progress)
        if resume:
            loop.restore()
        else:
            loop.start()
        loop.programs.weight_step.result(), loop.programs.evaluate.result()
        ready, first = time.monotonic(), loop.step
        progress.note(f"ready after {ready - began:.0f} s")
        try:
            with stop_requests() as requests:
                loop.finish(requests)
        finally:
            row = {"first_step": first, "step": loop.step, "devices": sharding.described(mesh), "jax": jax.__version__}
            seconds = {"setup_s": ready - began, "search_s": time.monotonic() - ready}
            Records(folder.path / "timing.jsonl").write(row | {name: round(s, 1) for name, s in seconds.items()})
        folder.draw(loop.genotype, config)
    return loop.genotype


class Loop:
    """The state of a search between two steps. All that decides its course is in each checkpoint."""

    def __init__(self, job: Task, folder: RunFolder, mesh: Mesh, progress: Progress):
        self.job, self.config, self.folder, self.mesh, self.progress = job, job.config, folder, mesh, progress
        self.examples = programs.on_devices(job.dataset, mesh)
        shapes = programs.arguments(job.search, self.examples, self.config.batch_size, mesh)
        self.abstract_state = shapes["weight_step"][0]
        self.programs = programs.compiled(programs.functions(job.search, mesh), shapes, mesh)
        self.key = jax.device_put(jax.random.key(self.config.seed), sharding.replicated(mesh))
        self.step = 0
        self.sums: dict[str, float] = {}  # of the metrics of this epoch's steps
        self.unread: dict[str, jax.Array] | None = None  # the metrics of the last step, which may still be running
        self.row: dict[str, Any] = {}
        self.genotype: Genotype

    def start(self) -> None:
        """Begins with the first step."""
        self.folder.rewind(-1)
        self.state = programs.initial_state(self.job.search, self.config.seed, self.mesh)
        alphas = jax.device_get(self.state.alphas)
        self.folder.write_alphas(0, 0, alphas)
        self.genotype = genotypes.derive(alphas)

    def restore(self) -> None:
        """Goes on from the newest good checkpoint, or begins if none was ever saved."""
        resumed = self.folder.checkpoints.latest(self.abstract_state)
        if resumed is None:
            self.progress.note("no checkpoint has been saved yet: starting from the beginning")
            return self.start()
        for line in resumed.skipped:
            self.progress.note(line)
        self.step, self.state, self.sums = resumed.step, resumed.state, resumed.metadata["sums"]
        self.genotype = genotypes.from_json(resumed.metadata["genotype"])
        self.folder.rewind(self.step)
        self.folder.write_genotype(self.genotype)
        self.progress.note(f"resuming after step {self.step} of {self.total}")

    @property
    def total(self) -> int:
        """Number of steps of the whole search."""
        return self.config.epochs * self.job.steps_per_epoch

    def finish(self, requests: Sequence[int]) -> None:
        """Takes the steps that are left, unless `requests` gets a signal's number: then saves and raises Stopped."""
        while self.step < self.total:
            metrics = self._take_step()
            self._read()  # the step before; this one runs meanwhile
            self.step, self.unread = self.step + 1, metrics
            is_epoch_over = self.step % self.job.steps_per_epoch == 0
            if is_epoch_over or requests:
                self._read()
            if is_epoch_over:
                self._end_epoch()
            elif requests:
                self._save()
            self._report()
            if requests:
                name = signal.Signals(requests[0]).name
                raise Stopped(requests[0], f"stopped by {name} after step {self.step} of {self.total}, which is saved")

    def _take_step(self) -> dict[str, jax.Array]:
        train, metrics = self._batch("search_train"), {}
        if self.step // self.job.steps_per_epoch >= self.config.warmup_epochs:
            if not self.programs.alpha_step.done():
                self.progress.note("waiting for the alpha step to be compiled")
            alpha_step, val = self.programs.alpha_step.result(), self._batch("search_val")
            self.state, metrics = alpha_step(self.state, self.examples, train, val, self.key)
        self.state, more = self.programs.weight_step.result()(self.state, self.examples, train, self.key)
        return metrics | more

    def _read(self) -> None:
        """Adds the metrics of the last step to the sums of its epoch."""
        metrics = {name: float(value) for name, value in jax.device_get(self.unread or {}).items()}
        for name in sorted(metrics, key=lambda name: "loss" not in name):  # losses first: they say most
            self._check_finite(name, metrics[name])
        self.sums |= {name: self.sums.get(name, 0.0) + value for name, value in metrics.items()}
        self.unread = None

    def _check_finite(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        good = self.folder.checkpoints.steps
        kept = f"the last good checkpoint is step {good[-1]}" if good else "no checkpoint was saved before"
        epoch = (self.step - 1) // self.job.steps_per_epoch + 1
        raise FloatingPointError(
            f"{name.replace('_', ' ')} is {value} at step {self.step} (epoch {epoch}): expected a finite number; "
            f"{kept} in {self.folder.path}; start anew with a smaller weight_lr, alpha_lr or gamma"
        )

    def _end_epoch(self) -> None:
        """Records the epoch that is over: its row, its alphas, its genotype, a checkpoint."""
        epoch = self.step // self.job.steps_per_epoch
        means = {name: total / self.job.steps_per_epoch for name, total in self.sums.items()}
        val_loss, val_accuracy = self._evaluation()
        self._check_finite("val_loss", val_loss)
        alphas = jax.device_get(self.state.alphas)
        self.genotype, self.sums = genotypes.derive(alphas), {}
        robustness = means.get("robustness") if self.config.metric != "none" else None
        self.row = {
            "epoch": epoch,
            "step": self.step,
            "learning_rate": float(weight_rate(self.config, epoch - 1)),
            "train_loss": means["train_loss"],
            "train_accuracy": means["train_accuracy"],
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "robustness": robustness,
            "gamma_times_robustness": None if robustness is None else self.config.gamma * robustness,
            "weight_gradient": means["weight_gradient"],
            "alpha_gradient": means.get("alpha_gradient"),
            **{f"skips_{cell}": skip_count(self.genotype, cell) for cell in CELLS},
        }
        self.folder.metrics.write(self.row)
        self.folder.write_alphas(epoch, self.step, alphas)
        self.folder.write_genotype(self.genotype, epoch)
        self._save()

    def _evaluation(self) -> tuple[float, float]:
        """Loss and accuracy on all of search_val, not augmented, by the running statistics."""
        half, evaluate = self.job.halves["search_val"], self.programs.evaluate.result()
        sums = [
            evaluate(self.state, self.examples, self._placed(indices), self._placed(counts))
            for indices, counts in programs.evaluation_batches(half, self.config.batch_size)
        ]
        loss, right = (sum(map(float, column)) for column in zip(*sums, strict=True))
        return loss / len(half), right / len(half)

    def _save(self) -> None:
        metadata = {**self.job.resolved, "genotype": genotypes.to_json(self.genotype), "sums": self.sums}
        self.folder.checkpoints.save(self.step, self.state, metadata)

    def _report(self) -> None:
        """Shows the means of this epoch so far, or those of the epoch that has just ended."""
        read = (self.step - (self.unread is not None)) % self.job.steps_per_epoch
        means = {name: total / read for name, total in self.sums.items()} if read else self.row
        self.progress.update(
            self.step,
            loss=means.get("train_loss"),
            val_acc=self.row.get("val_accuracy"),
            R=means.get("robustness") if self.config.metric != "none" else None,
            skips="+".join(str(skip_count(self.genotype, cell)) for cell in CELLS),
            train_acc=means.get("train_accuracy"),
        )

    def _batch(self, half: str) -> jax.Array:
        return self._placed(self.job.batch(half, self.step))

    def _placed(self, values: Any) -> jax.Array:
        return jax.device_put(values, sharding.split(self.mesh))
