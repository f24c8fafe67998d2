"""A run that takes seconds: a linear classifier of the digits, as a command that several processes can share."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as `execute` sets it, before JAX is there

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.commands.command import Command, Flag, run_command
from dsrna_jax.data import load
from dsrna_jax.data_parallel import batch_mean, batch_sum
from dsrna_jax.losses import cross_entropy
from dsrna_jax.runtime import run as runtime_run
from dsrna_jax.runtime.compilation import argument_shapes, initial_state
from dsrna_jax.runtime.device_data import gathered
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.loop import RunLoop
from dsrna_jax.runtime.options import check, option
from dsrna_jax.runtime.run_folder import RunFolder
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.streams import step_key


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    """The settings of the tiny run."""

    experiment: ClassVar[str] = "tiny"
    seed: int = option(0, "seed", "[0, 4294967295]", in_programs="none")
    epochs: int = option(3, "epochs", "[1, 1e6]")
    batch_size: int = option(64, "images per step", "[1, 1e6]")
    data_dir: str = option("", "folder of the data", in_programs="none")

    def __post_init__(self):
        check(self)


class TinyFolder(RunFolder):
    """The files of the run."""

    config_type = TinyConfig


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Their statistics, where other runs have a network."""

    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def clone(self, **changes):
        return dataclasses.replace(self, **changes)


class TinySetup(RunSetup):
    """The digits and the classifier."""

    summary = "digits"


class TinyPrograms(NamedTuple):
    """move_step(state, data, indices, key) -> (state, metrics); evaluate(state, data, indices, counts) -> sums."""

    move_step: Any
    evaluate: Any


def setup_of(config: TinyConfig) -> TinySetup:
    """The run of a configuration; FAULT=data reverses the order of the data of this process."""
    dataset = load("digits", "train", None, 0)
    if os.environ.get("FAULT") == "data":
        dataset = dataclasses.replace(dataset, images=dataset.images[::-1], labels=dataset.labels[::-1])
    parts = {"train": np.arange(1000), "held_out": np.arange(1000, 1437)}
    init = lambda key: {"step": jnp.int32(0), "weights": 0.01 * jax.random.normal(key, (64, 10))}  # noqa: E731
    return TinySetup(config, dataset, parts, Pixels(), SimpleNamespace(init=init), 1000 // config.batch_size)


class TinyLoop(RunLoop):
    """Gradient descent with noise; the environment's FAULT=KIND:STEP has one process fail."""

    def uncompiled(self):
        def losses(weights, data, indices):
            images, labels = gathered(data, indices)
            return cross_entropy(images.reshape(len(images), -1) / 255 @ weights, labels)

        def move_step(state, data, indices, key):
            value = lambda weights: losses(weights, data, indices).mean()  # noqa: E731
            loss, gradient = batch_mean(jax.value_and_grad(value)(state["weights"]))
            noise = jax.random.normal(step_key(key, 0, state["step"]), gradient.shape)
            moved = state["weights"] - 0.1 * gradient + 1e-3 * noise
            return {"step": state["step"] + 1, "weights": moved}, {"train_loss": loss}

        def evaluate(state, data, indices, counts):
            return (batch_sum(jnp.sum(jnp.where(counts, losses(state["weights"], data, indices), 0))),)

        state, data, key, indices, counts = argument_shapes(self.setup, self.mesh)
        shapes = {"move_step": (state, data, indices, key), "evaluate": (state, data, indices, counts)}
        return TinyPrograms(move_step, evaluate), shapes

    def begin(self):
        self.state = initial_state(self.setup.functions.init, self.config.seed, self.mesh)

    def resume(self, metadata):
        """Nothing: this run keeps no facts beside its state."""

    def needed(self, step):
        return {"step": self.programs.move_step, "evaluation": self.programs.evaluate}

    def take_step(self):
        kind, _, step = os.environ.get("FAULT", "").partition(":")
        if kind and step and int(step) == self.step:
            faults = {"die": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM}
            self._fail() if kind == "fail" else os.kill(os.getpid(), faults[kind])
        time.sleep(float(os.environ.get("PAUSE", "0")))
        batch = self.feed.batch("train", self.step)
        self.state, metrics = self.programs.move_step.result()(self.state, self.data, batch, self.key)
        return metrics

    def _fail(self):
        raise OSError("the disk of this process is full")

    def end_epoch(self, epoch, means):
        (loss,) = self.sums_over("held_out", self.programs.evaluate.result())
        return {**means, "val_loss": loss / len(self.setup.parts["held_out"])}

    def draw(self):
        """Nothing: this run has no pictures."""

    def metadata(self):
        return {}

    def columns(self, means):
        return {"loss": means.get("train_loss")}


def run(config: TinyConfig, path: Path, *, resume: bool = False, devices: int = 0, file=None, log=()) -> TinyLoop:
    """Runs in the folder `path`; the loop at its end."""
    folder = TinyFolder(path, is_written=joined().is_first)
    with locked(folder.path, "run_dir"):
        setup = lambda: setup_of(config)  # noqa: E731
        return runtime_run.run(setup, TinyLoop, folder, config, resume=resume, devices=devices, file=file, log=log)


COMMAND = Command(
    name="tiny",
    description="A tiny run.",
    defaults=TinyConfig(),
    own={"run_dir": Flag("folder of the run", "run")},
    dry_run="no",
    settings=lambda values: (
        TinyConfig(**{name: values[name].value for name in ("seed", "epochs", "batch_size", "data_dir")}),
        Path(values.run_dir),
    ),
    plan=lambda config, values: "",
    run=lambda config, path, values: run(config, path, resume=values.resume, devices=values.devices),
    report=lambda loop, path, values: f"ended after {loop.step} steps",
)


if __name__ == "__main__":
    from dsrna_jax.commands.process import execute

    execute(lambda argv: run_command(COMMAND, argv))
