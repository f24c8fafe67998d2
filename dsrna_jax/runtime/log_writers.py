"""Writers of logs for TensorBoard, Weights & Biases and MLflow; each imports its package when it is made."""

import contextlib
import importlib.util
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.extras import absent_package
from dsrna_jax.files import write_whole

PROJECT = "dsrna_jax"  # the name of the W&B project and of the MLflow experiment, unless the environment names another


class Writer(Protocol):
    """A log of the numbers of one run, by the number of steps done."""

    place: str  # where to find the log, in words
    last_step: int  # the last step that it holds; -1 if none

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds finite numbers after `step` > `last_step`. Raises: any exception of its package; the step may be sent again."""

    def close(self) -> None:
        """Sends what is left and ends the log; a later writer for the same folder goes on with it."""


class TensorBoard:
    """Event files in the subfolder `tensorboard`, written by tensorboardX without TensorFlow.

    They are written anew from the first step each time: no step is twice in them, whichever way a run was stopped.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], is_resumed: bool):
        events = folder / "tensorboard"
        for file in events.glob("events.out.tfevents.*"):
            file.unlink()
        self.place, self.last_step = f"tensorboard --logdir={events}", -1
        # The purge has a TensorBoard that is open forget what it read in the files before.
        self._writer = import_module("tensorboardX").SummaryWriter(str(events), purge_step=0)
        self._writer.add_text("config", f"```json\n{json.dumps(config, indent=2)}\n```", 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a scalar for each of `values`, and flushes."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()
        self.last_step = step

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, with its files in the subfolder `wandb`; WANDB_MODE=offline keeps them there for `wandb sync`.

    wandb.json holds its id, and the last step sent, by which a run goes on that W&B's server does not know yet.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], is_resumed: bool):
        wandb = import_module("wandb")
        self._file = folder / "wandb.json"
        sent = _kept(self._file, {"id": str, "step": int}, is_resumed) or {"id": secrets.token_hex(4), "step": -1}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=sent["id"],
            name=str(folder),
            dir=str(folder),
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._id, self.last_step = sent["id"], self._run.step - 1 if self._run.resumed else sent["step"]
        files = Path(self._run.dir).parent
        self.place = f"W&B, offline: wandb sync {files}" if self._run.offline else str(self._run.url)
        self._write_state()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds `values` as one row of the history."""
        self._run.log(dict(values), step=step)
        self.last_step = step
        self._write_state()

    def close(self) -> None:
        """Ends the run, after its uploads."""
        self._run.finish()

    def _write_state(self) -> None:
        write_whole(self._file, json.dumps({"id": self._id, "step": self.last_step}) + "\n")


class MLflow:
    """A run of MLflow, in the store that MLFLOW_TRACKING_URI names, or else in mlflow.db of the working directory.

    mlflow.json holds its id and store; MLflow itself knows the last step.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], is_resumed: bool):
        client, entities, file = import_module("mlflow").MlflowClient, import_module("mlflow.entities"), folder / "mlflow.json"
        self._metric = entities.Metric
        kept = _kept(file, {"id": str, "store": str}, is_resumed)
        self._client = client(kept["store"] if kept else None)
        if kept:
            self._id = kept["id"]
            self._client.update_run(self._id, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            self._id = self._client.create_run(experiment, run_name=str(folder)).info.run_id
            params = [entities.Param(name, str(value)) for name, value in config.items()]
            for first in range(0, len(params), 100):  # the most that it takes at once
                self._client.log_batch(self._id, params=params[first : first + 100])
            write_whole(file, json.dumps({"id": self._id, "store": self._client.tracking_uri}) + "\n")
        self.place = f"MLflow, run {self._id} in {self._client.tracking_uri}"
        self.last_step = max((metric.step for metric in self._client.get_metric_history(self._id, "epoch")), default=-1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds `values`, all or none."""
        now = int(1000 * time.time())
        self._client.log_batch(self._id, [self._metric(name, value, now, step) for name, value in values.items()])
        self.last_step = step

    def close(self) -> None:
        """Marks the run as finished."""
        self._client.set_terminated(self._id)


class Backend(NamedTuple):
    """A kind of log: the module that it needs, which the extra of its name installs, and its writer."""

    module: str
    writer: Callable[[Path, Mapping[str, Any], bool], Writer]


BACKENDS = {
    "tensorboard": Backend("tensorboardX", TensorBoard),
    "wandb": Backend("wandb", WandB),
    "mlflow": Backend("mlflow", MLflow),
}


def log_names(text: str) -> tuple[str, ...]:
    """The names in a text such as "tensorboard,wandb", each once. Raises: InputError for a name that is not in `BACKENDS`."""
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in names:
        if name not in BACKENDS:
            raise InputError(f"log={name}: expected {', '.join(BACKENDS)}, or several of them with commas between")
    return names


def check_installed(names: tuple[str, ...]) -> None:
    """Raises: InputError, with the command that installs it, if the package of a log is missing; or for an unknown name."""
    for name in log_names(",".join(names)):
        spec = importlib.util.find_spec(BACKENDS[name].module)
        if spec is None or spec.origin is None:  # without: a mere folder of that name, such as W&B leaves where it ran
            raise absent_package(f"log={name}", BACKENDS[name].module)


def _kept(file: Path, shape: Any, is_resumed: bool) -> dict[str, Any] | None:
    """The content of the file of an earlier writer; None if there is none, or if the run begins anew, which removes it."""
    if not is_resumed:
        file.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        return strict_json.read(file, shape)
    return None
