"""A training from beginning to end, or from where it stopped: compiled steps, the choice of the best, what it leaves behind."""

import os
from typing import Any, NamedTuple, TextIO

import jax

from dsrna_jax.genotypes import zoo
from dsrna_jax.runtime import compilation, loop
from dsrna_jax.runtime.run_folder import resolved_configuration
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.folder import TrainingFolder
from dsrna_jax.training.programs import arguments, functions
from dsrna_jax.training.schedules import learning_rate
from dsrna_jax.training.setup import training_task


class Trained(NamedTuple):
    """What a training came to: `last` and `best` are rows of metrics.jsonl; `best` is None if nothing was held out."""

    last: dict[str, Any]
    best: dict[str, Any] | None
    epochs: int


def run(
    config: TrainingConfig,
    path: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
) -> Trained:
    """Trains, with everything recorded in the run folder `path`.

    A checkpoint follows every epoch, and the best one by the held-out images, robust before clean, is kept apart. The test
    split is never read. With `resume` the run goes on from its newest good checkpoint, and ends as if it had never stopped,
    bit for bit on the same machine.

    Args and Raises: as `dsrna_jax.run.run`.
    """
    folder = TrainingFolder(path)

    def job():
        # A run that goes on has its architecture with it: the file that named it may be gone.
        return training_task(config, zoo.from_json(resolved_configuration(path, TrainingConfig)["genotype"]) if resume else None)

    end = loop.run(job, Loop, folder, config, resume=resume, devices=devices, file=file)
    title = f"{folder.path.name}: {config.genotype} on {config.dataset}"
    folder.draw(end.job.architecture, title)
    return Trained(end.row, end.best, end.step // end.job.steps_per_epoch)


class Loop(loop.Loop):
    """The state of a training between two steps."""

    folder: TrainingFolder
    remedy = "start anew with a smaller lr or radius"

    def __init__(self, job, folder, mesh, progress):
        super().__init__(job, folder, mesh, progress)
        shapes = arguments(job, mesh)
        self.abstract_state = shapes["train_step"][0]
        self.programs = compilation.compiled(functions(job.training, mesh), shapes, mesh, self.identity)
        self.best: dict[str, Any] | None = None

    def begin(self) -> None:
        self.state = compilation.initial_state(self.job.training, self.config.seed, self.mesh)
        zoo.save(self.job.architecture, self.folder.path / "genotype.json")

    def resume(self, metadata: dict[str, Any]) -> None:
        self.best, self.row = metadata["best"], metadata["row"]

    def wait(self) -> None:
        self.programs.train_step.result()

    def take_step(self) -> dict[str, jax.Array]:
        batch = self.put(self.job.batch(self.step))
        self.state, metrics = self.programs.train_step.result()(self.state, self.examples, batch, self.key)
        return metrics

    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, Any]:
        row = {"learning_rate": float(learning_rate(self.config, epoch - 1)), **means, **self._evaluation()}
        if row["val_loss"] is not None:
            self.check_finite("val_loss", row["val_loss"])
            self._judge({"epoch": epoch, "step": self.step, **row})
        return row

    def _evaluation(self) -> dict[str, float | None]:
        """Loss and accuracies on all held-out images, not augmented."""
        part = self.job.parts["held_out"]
        names = ("val_loss", "val_accuracy", "val_robust_accuracy")
        if not len(part):
            return dict.fromkeys(names)
        evaluate = self.programs.evaluate.result()
        sums = [
            evaluate(self.state, self.examples, self.put(indices), self.put(counts), self.key)
            for indices, counts in compilation.evaluation_batches(part, self.config.batch_size)
        ]
        values = [sum(map(float, column)) / len(part) for column in zip(*sums, strict=True)]
        return dict(zip(names, values, strict=True)) | ({} if self.config.is_adversarial else {"val_robust_accuracy": None})

    def _judge(self, row: dict[str, Any]) -> None:
        """Keeps the best checkpoint; ends a training that has stopped to improve, or whose robustness has collapsed."""
        best, epoch = self.best, row["epoch"]
        if best is None or _merit(row) > _merit(best):
            self.best = row
            saved = {"weights": self.state.weights, "batch_stats": self.state.batch_stats, "average": self.state.average}
            self.folder.best.save(self.step, saved, {**self.job.resolved, "row": row})
            return
        before, now = (r["val_robust_accuracy"] or 0 for r in (best, row))
        if self.config.collapse and before - now > self.config.collapse:
            self.is_over = True
            self.progress.note(
                f"catastrophic overfitting: robust accuracy on held-out images fell from {before:.1%} in epoch {best['epoch']} "
                f"to {now:.1%} in epoch {epoch}; training stops, the best is kept"
            )
        elif self.config.patience and epoch - best["epoch"] >= self.config.patience:
            self.is_over = True
            self.progress.note(f"no better checkpoint for {self.config.patience} epochs: training stops after epoch {epoch}")

    def metadata(self) -> dict[str, Any]:
        return {"best": self.best, "row": self.row}

    def columns(self, means: dict[str, float]) -> dict[str, Any]:
        return {
            "loss": means.get("train_loss"),
            "val_acc": self.row.get("val_accuracy"),
            "val_robust_acc": self.row.get("val_robust_accuracy"),
            "train_acc": means.get("train_accuracy"),
        }


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """What makes a checkpoint better: accuracy on attacked images, if there are such, then a lower loss on clean ones."""
    accuracy = row["val_accuracy"] if row["val_robust_accuracy"] is None else row["val_robust_accuracy"]
    return accuracy, -row["val_loss"]
