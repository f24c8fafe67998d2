"""A search from beginning to end, or from where it stopped: compiled steps, the loop, and what it leaves behind."""

import math
import os
import signal
import time
from typing import Any, TextIO

import jax

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
    job, folder = task(config), RunFolder(path)
    folder.claim(job.resolved, resume)
    with Progress(config.epochs, job.steps_per_epoch, file=file) as progress:
        progress.note(f"{config.dataset}: {len(job.dataset)} images, half of them for the weights, half for the alphas")
        progress.note(f"compiling for {sharding.described(mesh)} (minutes the first time, seconds from the cache)")
        loop = Loop(job, folder, mesh, progress)
        loop.restore() if resume else loop.start()
        ready, first = time.monotonic(), loop.step
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
    """The state of a search between two steps. What decides its course is in a checkpoint: the rest follows from it."""

    def __init__(self, job: Task, folder: RunFolder, mesh: Any, progress: Progress):
        self.job, self.folder, self.mesh, self.progress = job, folder, mesh, progress
        self.config = job.config
        self.examples = programs.on_devices(job.dataset, mesh)
        shapes = programs.arguments(job.search, self.examples, self.config.batch_size, mesh)
        self.abstract_state = shapes["weight_step"][0]
        self.programs = programs.compiled(programs.functions(job.search, mesh), shapes, mesh)
        self.key = jax.device_put(jax.random.key(self.config.seed), sharding.replicated(mesh))
        self.step, self.sums = 0, {}  # steps done; sums of the metrics of this epoch's steps
        self.genotype: Genotype

    def start(self) -> None:
        """Begins with the first step."""
        self.folder.rewind(-1)
        self.state = programs.initial_state(self.job.search, self.config.seed, self.mesh)
        self.folder.write_alphas(0, 0, jax.device_get(self.state.alphas))
        self.genotype = genotypes.derive(self.state.alphas)

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
        self.progress.note(f"resuming after step {self.step}")

    def finish(self, requests: list[int]) -> None:
        """Runs the steps that are left, unless `requests` gets a signal's number."""
        total = self.config.epochs * self.job.steps_per_epoch
        before = None  # the metrics of the step before are read while this step runs
        while self.step < total:
            metrics = self._take_step()
            self._add(before)
            before = self.step, metrics
            is_epoch_over = self.step % self.job.steps_per_epoch == 0
            if is_epoch_over or requests:
                self._add(before)
                before = None
            if is_epoch_over:
                self._end_epoch()
            elif requests:
                self._save()
            done = (self.step - 1) % self.job.steps_per_epoch + (before is None)
            self._report(done if not is_epoch_over else None)
            if requests:
                name = signal.Signals(requests[0]).name
                raise Stopped(requests[0], f"stopped by {name} after step {self.step} of {total}; all of it is saved")

    def _take_step(self) -> dict[str, jax.Array]:
        config, job = self.config, self.job
        train = self._placed(job.batch("search_train", self.step))
        metrics = {}
        if self.step // job.steps_per_epoch >= config.warmup_epochs:
            if not self.programs.alpha_step.done():
                self.progress.note("the warm-up is over: waiting for the alpha step to be compiled")
            val = self._placed(job.batch("search_val", self.step))
            self.state, metrics = self.programs.alpha_step.result()(self.state, self.examples, train, val, self.key)
        self.state, more = self.programs.weight_step.result()(self.state, self.examples, train, self.key)
        self.step += 1
        return metrics | more

    def _add(self, before: tuple[int, dict[str, jax.Array]] | None) -> None:
        """Adds the metrics of a step to the sums of its epoch."""
        if before is None:
            return
        step, metrics = before
        for name, value in metrics.items():
            self._check_finite(name, float(value), step)
            self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def _check_finite(self, name: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            good = self.folder.checkpoints.steps
            kept = f"the last good checkpoint is step {good[-1]} in {self.folder.path}" if good else "none is saved yet"
            raise FloatingPointError(
                f"{name} is {value} at step {step} (epoch {(step - 1) // self.job.steps_per_epoch + 1}): expected a "
                f"finite number; {kept}; start again with a smaller weight_lr, alpha_lr or gamma"
            )

    def _end_epoch(self) -> None:
        """Records the epoch that is over: its row, its alphas, its genotype, a checkpoint."""
        epoch = self.step // self.job.steps_per_epoch
        means = {name: total / self.job.steps_per_epoch for name, total in self.sums.items()}
        val_loss, val_accuracy = self._evaluation()
        self._check_finite("val_loss", val_loss, self.step)
        alphas = jax.device_get(self.state.alphas)
        self.genotype = genotypes.derive(alphas)
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
        self.sums = {}
        self.folder.metrics.write(self.row)
        self.folder.write_alphas(epoch, self.step, alphas)
        self.folder.write_genotype(self.genotype, epoch)
        self._save()

    def _evaluation(self) -> tuple[float, float]:
        """Loss and accuracy on all of search_val, as augmentation leaves it alone, by the running statistics."""
        half = self.job.halves["search_val"]
        sums = [
            self.programs.evaluate.result()(self.state, self.examples, self._placed(indices), self._placed(counts))
            for indices, counts in programs.evaluation_batches(half, self.config.batch_size)
        ]
        loss, right = (sum(map(float, column)) for column in zip(*sums, strict=True))
        return loss / len(half), right / len(half)

    def _save(self) -> None:
        metadata = {**self.job.resolved, "genotype": genotypes.to_json(self.genotype), "sums": self.sums}
        self.folder.checkpoints.save(self.step, self.state, metadata)

    def _report(self, done: int | None) -> None:
        """Shows where the search is: the means of the `done` steps that this epoch has had, or of the epoch before."""
        skips = "+".join(str(skip_count(self.genotype, cell)) for cell in CELLS)
        if done is None:
            columns = {"loss": self.row["train_loss"], "accuracy": self.row["train_accuracy"]}
            columns |= {"val_accuracy": self.row["val_accuracy"], "R": self.row["robustness"]}
        else:
            means = {name: total / done for name, total in self.sums.items()} if done else {}
            robustness = means.get("robustness") if self.config.metric != "none" else None
            columns = {"loss": means.get("train_loss"), "accuracy": means.get("train_accuracy"), "R": robustness}
        self.progress.update(self.step, **columns, skips=skips)

    def _placed(self, values: Any) -> jax.Array:
        return jax.device_put(values, sharding.split(self.mesh))
