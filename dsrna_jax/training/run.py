"""A training from beginning to end, or from where it stopped: its steps, the choice of the best checkpoint, its records."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

import jax

from dsrna_jax import genotypes, strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.losses import TOP_5_FROM
from dsrna_jax.runtime import run as runtime_run
from dsrna_jax.runtime.compilation import initial_state
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.loop import RunLoop
from dsrna_jax.runtime.run_folder import resolved_configuration
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.folder import TrainingFolder
from dsrna_jax.training.programs import TrainingPrograms, arguments, training_programs
from dsrna_jax.training.result import measured_result
from dsrna_jax.training.schedules import learning_rate
from dsrna_jax.training.setup import TrainingSetup, training_setup


class Trained(NamedTuple):
    """The end of a training.

    last, best: rows of metrics.jsonl; `best` is None if nothing was held out.
    result: the content of result.json.
    held_out: number of images that were held out.
    """

    last: dict[str, Any]
    best: dict[str, Any] | None
    epochs: int
    result: dict[str, Any]
    held_out: int
    config: TrainingConfig


def run(
    config: TrainingConfig,
    path: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
    log: Sequence[str] = (),
) -> Trained:
    """Trains, with checkpoints and records in the run folder `path`.

    A checkpoint follows every epoch, and the best one by the held-out images (robust accuracy before clean) is kept apart. The
    test images are used once, when all steps are done: result.json has the accuracy of the chosen weights on them. With `resume`
    the run goes on from its newest good checkpoint, and ends as if it had never stopped, bit for bit on one machine
    and one number of CPU cores.

    Args and Raises: as `dsrna_jax.search.run.run`.
    """
    processes = joined()
    folder = TrainingFolder(path, is_written=processes.is_first)

    def setup():
        # A resumed run reads the architecture from its own folder: the file that `genotype` named may be gone.
        return training_setup(config, _saved_architecture(path) if resume else None)

    with locked(folder.path, "run_dir"):
        end = runtime_run.run(setup, TrainingLoop, folder, config, resume=resume, devices=devices, file=file, log=log)
        result = None
        if processes.is_first:
            folder.draw(end.setup.architecture, f"{folder.path.name}: {config.genotype} on {config.dataset}")
            result = measured_result(folder.path, config.data_dir, devices=devices, file=file)
            folder.write_page(_ended(end.row.get("epoch", 0), result))
        result = processes.decided(result)
    epochs, held_out = end.step // end.setup.steps_per_epoch, len(end.setup.parts["held_out"])
    return Trained(end.row, end.best, epochs, result, held_out, config)


def _ended(epochs: int, result: dict[str, Any]) -> str:
    """The end of a training in words."""
    test = result["test"]
    measured = f"; accuracy on all {test['images']:,} {test['split']} images {test['accuracy']:.2%}" if test else ""
    return f"ended after {epochs} epochs{measured}"


def _saved_architecture(path: str | os.PathLike) -> genotypes.Architecture:
    """The architecture in the config.json of a run folder. Raises: InputError, which names the file, if there is none."""
    resolved = resolved_configuration(path, TrainingConfig)
    try:
        strict_json.check(resolved, {"genotype": {}})
        return genotypes.from_json(resolved["genotype"])
    except InputError as error:
        raise InputError(f"{os.path.join(path, 'config.json')}: {error}") from None


class TrainingLoop(RunLoop):
    """The state of a training between two steps; `best` is the row of the best epoch so far."""

    setup: TrainingSetup
    folder: TrainingFolder
    programs: TrainingPrograms
    best: dict[str, Any] | None = None
    remedy = "start anew with a smaller lr or radius"

    def uncompiled(self) -> tuple[TrainingPrograms, dict[str, tuple]]:
        return training_programs(self.setup.functions), arguments(self.setup, self.mesh)

    def begin(self) -> None:
        functions = self.setup.functions.given((0.0,), (1.0,), {})  # initial weights do not depend on them
        self.state = initial_state(functions.init, self.config.seed, self.mesh)
        self.folder.write_architecture(self.setup.architecture)

    def resume(self, metadata: dict[str, Any]) -> None:
        self.best, self.row = metadata["best"], metadata["row"]

    def needed(self, step: int) -> dict[str, Any]:
        is_last = (step + 1) % self.setup.steps_per_epoch == 0
        return {"training step": self.programs.train_step} | ({"evaluation": self.programs.evaluate} if is_last else {})

    def take_step(self) -> dict[str, jax.Array]:
        batch = self.feed.batch("train", self.step)
        self.state, metrics = self.programs.train_step.result()(self.state, self.data, batch, self.key)
        return metrics

    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, Any]:
        row = {"learning_rate": float(learning_rate(self.config, epoch - 1)), **means, **self._evaluation()}
        if row["val_loss"] is not None:
            self.check_finite("val_loss", row["val_loss"])
            self._judge({"epoch": epoch, "step": self.step, **row})
        return row

    def draw(self) -> None:
        self.folder.draw(self.setup.architecture, f"{self.folder.path.name}: {self.config.genotype} on {self.config.dataset}")

    def _evaluation(self) -> dict[str, float | None]:
        """Loss and accuracies on all held-out images, not augmented."""
        count = len(self.setup.parts["held_out"])
        names = ["val_loss", "val_accuracy", "val_robust_accuracy"]
        if self.setup.dataset.classes >= TOP_5_FROM:
            names.append("val_top_5_accuracy")
        if not count:
            return dict.fromkeys(names)
        values = [total / count for total in self.sums_over("held_out", self.programs.evaluate.result(), self.key)]
        return dict(zip(names, values, strict=True)) | ({} if self.config.is_adversarial else {"val_robust_accuracy": None})

    def _judge(self, row: dict[str, Any]) -> None:
        """Keeps the best checkpoint; ends a training that no longer improves, or whose robustness has collapsed."""
        best, epoch = self.best, row["epoch"]
        if best is None or _merit(row) > _merit(best):
            self.best = row
            saved = {"weights": self.state.weights, "batch_stats": self.state.batch_stats, "average": self.state.average}
            self.folder.best.save(self.step, saved, {**self.setup.resolved, "row": row})
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
            "top_5_acc": self.row.get("val_top_5_accuracy"),
            "train_acc": means.get("train_accuracy"),
        }


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """A checkpoint's rank, higher is better: (accuracy, -loss) on held-out images, the accuracy under attack if measured."""
    accuracy = row["val_accuracy"] if row["val_robust_accuracy"] is None else row["val_robust_accuracy"]
    return accuracy, -row["val_loss"]
