"""The result of a training: accuracy of the chosen weights on all test images, measured once, in result.json."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from jax.sharding import Mesh

from dsrna_jax import strict_json
from dsrna_jax.attacks.series import batches, predictions
from dsrna_jax.confidence import wilson
from dsrna_jax.data import Dataset, load
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import write_whole
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.checkpoint import BEST
from dsrna_jax.runtime.options import interval
from dsrna_jax.runtime.progress import Progress, WorkProgress
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.strict_json import Nullable
from dsrna_jax.training import restore
from dsrna_jax.training.restore import TrainedNetwork

RESULT = "result.json"
SPLITS = ("test", "validation")
"""The first of these splits that has labels holds the test images; the test split of ImageNet has none."""

_SHARE, _COUNT = interval("[0, 1]"), (int, interval("[0, 1e9]"))
_SHAPE = {
    "experiment": frozenset({"training"}),
    "checkpoint": {"step": _COUNT, "digest": str},
    "test": Nullable({"split": frozenset(SPLITS), "images": _COUNT, "correct": _COUNT, "accuracy": _SHARE}),
}


def saved_result(folder: str | os.PathLike) -> dict[str, Any] | None:
    """The content of result.json in a run folder; None if there is none, as in runs of version 0.1.0.

    Raises: InputError if it is damaged.
    """
    file = Path(folder) / RESULT
    try:
        content = strict_json.read(file, _SHAPE)
        if (test := content.get("test")) and abs(test["accuracy"] * test["images"] - test["correct"]) >= 1e-6 * test["images"]:
            raise InputError(f"{file}: expected test.accuracy to be correct / images, got {shown(test['accuracy'])}")
    except FileNotFoundError:
        return None
    except InputError as error:
        raise InputError(f"{error}; delete this result, and resume the training to measure it again") from None
    return content


def measured_result(
    folder: str | os.PathLike, data_dir: str = "", *, devices: int = 0, file: TextIO | None = None
) -> dict[str, Any]:
    """Measures the chosen weights of the finished training in `folder` on all test images; writes and returns result.json.

    The chosen weights are the best by held-out images, if any were held out, else the last. If the folder has a result of the
    same weights, that is returned: test images are used once. Without test images that fit, "test" is None and "why" says what is
    missing. The file holds neither times nor devices: on one machine the same training writes the same bytes.

    Args:
      data_dir: as in `data.load`.
      devices: number of devices that share a batch; 0 for all.
      file: where progress is printed.
    Raises: Stopped after a signal; resuming the training makes the measurement again.
    """
    folder, mesh = Path(folder), sharding.mesh(devices)
    network = restore.load(folder)
    before = saved_result(folder)
    if before and before["checkpoint"]["digest"] == network.digest and before["test"]:
        return before
    checkpoint = {"step": network.step, "digest": network.digest, "chosen": "best" if (folder / BEST).is_dir() else "last"}
    result: dict[str, Any] = {"experiment": "training", "dataset": network.config.dataset, "checkpoint": checkpoint, "test": None}
    try:
        split, dataset = _test_images(network, data_dir or network.config.data_dir)
    except InputError as error:
        result["why"] = str(error)
    else:
        with stop_requests() as requests, WorkProgress(len(dataset), file=file) as progress:
            progress.note(f"measuring the accuracy of the {checkpoint['chosen']} weights on all {len(dataset)} images of {split}")
            correct = _correct(network, dataset, network.config.batch_size, mesh, progress, requests)
        low, high = wilson(correct, len(dataset))
        counts = {"images": len(dataset), "correct": correct, "accuracy": correct / len(dataset)}
        result["test"] = {"split": split, **counts, "low": low, "high": high}
    write_whole(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def _test_images(network: TrainedNetwork, data_dir: str) -> tuple[str, Dataset]:
    """The name of the split and its images. Raises: InputError if no split of `SPLITS` has labelled images that fit."""
    errors = []
    for split in SPLITS:
        try:
            dataset = load(network.config.dataset, split, data_dir or None, network.config.image_size)
        except InputError as error:
            errors.append(error)
            continue
        if not len(dataset) or (dataset.image_shape, tuple(dataset.class_names)) != (network.image_shape, network.class_names):
            errors.append(
                InputError(f"{split} of {network.config.dataset} is empty, or of other images or classes than were trained on")
            )
            continue
        return split, dataset
    raise errors[0]


def _correct(
    network: TrainedNetwork, dataset: Dataset, batch_size: int, mesh: Mesh, progress: Progress, requests: Sequence[int]
) -> int:
    """The number of images of a data set that are classified correctly. Raises: Stopped after a signal."""
    logits_fn, correct = jax.device_put(network.logits_fn, sharding.replicated(mesh)), 0
    for indices, padded in batches(np.arange(len(dataset)), batch_size):
        images = jax.device_put(dataset.images[padded].astype(np.float32) / 255, sharding.split(mesh))
        predicted = np.asarray(predictions(logits_fn, images))[: len(indices)]
        correct += int((predicted == dataset.labels[indices]).sum())
        progress.update(int(indices[-1]) + 1)
        if requests:
            name = signal.Signals(requests[0]).name
            raise Stopped(requests[0], f"stopped by {name} while test images were classified; the training is finished and saved")
    return correct
