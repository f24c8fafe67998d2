"""The result of a training: accuracy of the chosen weights on all test images, measured once, in result.json."""

import dataclasses
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dsrna_jax import losses, strict_json
from dsrna_jax.attacks.predictions import compiled_logits, predicted_classes
from dsrna_jax.confidence import wilson
from dsrna_jax.data import Dataset
from dsrna_jax.data.loading import StreamedDataset, host_batches, images_of
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import records, sharding
from dsrna_jax.runtime.checkpoint import BEST
from dsrna_jax.runtime.options import interval
from dsrna_jax.runtime.paths import CONFIG
from dsrna_jax.runtime.progress import Progress, WorkProgress
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.strict_json import Nullable
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.restore import TrainedNetwork

RESULT, METRICS = "result.json", "metrics.jsonl"
SPLITS = ("test", "validation")
"""The first of these splits that has labels holds the test images; the test split of ImageNet has none."""

_SHARE, _COUNT = interval("[0, 1]"), (int, interval("[0, 1e9]"))
_SHAPE = {
    "experiment": frozenset({"training"}),
    "checkpoint": {"step": _COUNT, "digest": str},
    "test": Nullable({"split": frozenset(SPLITS), "images": _COUNT, "correct": _COUNT, "accuracy": _SHARE}),
}


def saved_result(folder: str | os.PathLike) -> dict[str, Any] | None:
    """The content of result.json in a run folder; None if there is none, as in runs of version 0.1.0 or in a file.

    Raises: InputError if it is damaged.
    """
    file = Path(folder) / RESULT
    try:
        content = strict_json.read(file, _SHAPE)
        if (test := content.get("test")) and abs(test["accuracy"] * test["images"] - test["correct"]) >= 1e-6 * test["images"]:
            raise InputError(f"{file}: expected test.accuracy to be correct / images, got {shown(test['accuracy'])}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError as error:
        raise InputError(f"{error}; delete this result, and resume the training to measure it again") from None
    return content


def stopped_after(folder: str | os.PathLike, epochs: int) -> int | None:
    """The epochs after which the training in a run folder was stopped; None if it has ended, or if there is no such folder.

    A training ends with result.json, of whatever epoch; one of version 0.1.0, without, by the record of the last of its `epochs`.
    Raises: InputError if its records are garbled.
    """
    folder = Path(folder)
    if (folder / RESULT).is_file() or not (folder / CONFIG).is_file():
        return None
    try:
        done = (records.rows(folder / METRICS, lambda row: {"epoch": int}) or [{"epoch": 0}])[-1]["epoch"]
    except FileNotFoundError:
        done = 0
    return done if done < epochs else None


def measured_result(
    folder: str | os.PathLike, data_dir: str = "", *, devices: int = 0, file: TextIO | None = None
) -> dict[str, Any]:
    """Measures the chosen weights of the finished training in `folder` on all test images; writes and returns result.json.

    The chosen weights are the best by held-out images, if any were held out, else the last. If the folder has a result of the
    same weights, that is returned: test images are used once. Without test images that fit, "test" is None and "why" says what is
    missing. The file holds neither times nor devices: on one machine the same training writes the same bytes.

    Args:
      data_dir: as in `data.load`.
      devices: number of devices of all processes, of which those of this one share a batch; 0 for all.
      file: where progress is printed.
    Raises: Stopped after a signal; resuming the training makes the measurement again.
    """
    folder, mesh = Path(folder), sharding.own_mesh(devices)
    network = restore.load(folder)
    before = saved_result(folder)
    if before and before["checkpoint"]["digest"] == network.digest and before["test"]:
        return before
    checkpoint = {"step": network.step, "digest": network.digest, "chosen": "best" if (folder / BEST).is_dir() else "last"}
    result: dict[str, Any] = {"experiment": "training", "dataset": network.config.dataset, "checkpoint": checkpoint, "test": None}
    config = dataclasses.replace(network.config, data_dir=data_dir or network.config.data_dir)
    try:
        split, dataset = _test_images(network, config)
        with stop_requests() as requests, WorkProgress(len(dataset), file=file) as progress:
            progress.note(f"measuring the accuracy of the {checkpoint['chosen']} weights on all {len(dataset)} images of {split}")
            correct, in_top_5 = _correct(network, dataset, mesh, progress, requests)
    except InputError as error:
        result["why"] = str(error)
    else:
        low, high = wilson(correct, len(dataset))
        counts = {"images": len(dataset), "correct": correct, "accuracy": correct / len(dataset)}
        result["test"] = {"split": split, **counts, "low": low, "high": high}
        if in_top_5 is not None:
            result["test"]["top_5_accuracy"] = in_top_5 / len(dataset)
    write_whole(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def _test_images(network: TrainedNetwork, config: TrainingConfig) -> tuple[str, Dataset | StreamedDataset]:
    """The name of the split and its images. Raises: InputError if no split of `SPLITS` has labelled images that fit."""
    errors = []
    for split in SPLITS:
        try:
            dataset = images_of(config, split)
        except InputError as error:
            errors.append(error)
            continue
        if not len(dataset) or (dataset.image_shape, tuple(dataset.class_names)) != (network.image_shape, network.class_names):
            errors.append(InputError(f"{split} of {config.dataset} is empty, or of other images or classes than were trained on"))
            continue
        return split, dataset
    raise errors[0]


def _correct(
    network: TrainedNetwork, dataset: Dataset | StreamedDataset, mesh: Mesh, progress: Progress, requests: Sequence[int]
) -> tuple[int, int | None]:
    """The number of images of a data set that are classified correctly, and of those whose class is among the first five.

    The second is None if classes are fewer than `losses.TOP_5_FROM`. Raises: Stopped after a signal.
    """
    logits_fn = sharding.network_by_example(network.logits_fn, mesh)
    size, done, correct, in_top_5 = network.config.batch_size, 0, 0, 0
    for batch in host_batches(dataset, np.arange(len(dataset)), size, network.config.workers):
        count, padding = len(batch.labels), np.arange(size) % len(batch.labels)
        images = jax.device_put(batch.images[padding].astype(np.float32) / 255, sharding.split(mesh))
        logits = compiled_logits(logits_fn, images)
        correct += int((predicted_classes(logits)[:count] == batch.labels).sum())
        if dataset.classes >= losses.TOP_5_FROM:
            in_top_5 += int(losses.in_top_5(logits, jnp.asarray(batch.labels[padding]))[:count].sum())
        done += count
        progress.update(done)
        if requests:
            name = signal.Signals(requests[0]).name
            raise Stopped(requests[0], f"stopped by {name} while test images were classified; the training is finished and saved")
    return correct, in_top_5 if dataset.classes >= losses.TOP_5_FROM else None
