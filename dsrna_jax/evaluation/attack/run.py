"""A trained network under attack, from its checkpoint to a folder of results: data, resumed batches, report, pictures."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax.attacks.predictions import predicted
from dsrna_jax.attacks.series import run_series
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import report as attack_report
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.attack.completed import CompletedBatches, shape_of
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.evaluate import evaluate, work
from dsrna_jax.evaluation.attack.outcomes import Evaluation
from dsrna_jax.evaluation.attack.stages import pgd_stage
from dsrna_jax.evaluation.folder import completed_rows, evaluation_folder, write_arrays
from dsrna_jax.evaluation.images import EvaluationImages
from dsrna_jax.evaluation.setup import EvaluationSetup, evaluation_setup
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.compute_options import maps_type
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.progress import WorkProgress
from dsrna_jax.runtime.signals import stop_requests
from dsrna_jax.training import restore
from dsrna_jax.training.restore import TrainedNetwork

_SHEET = 10  # attacked images that are drawn


def run(
    config: AttackConfig,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
) -> dict[str, Any]:
    """Attacks the network in a checkpoint, and writes attack.json, flags.npz and pictures to `out`; returns attack.json.

    Every batch is recorded as soon as it is done. With `resume` recorded batches are not run again, and flags.npz ends as that of
    an unbroken evaluation, bit for bit on one machine and one number of CPU cores. Several processes (`runtime.joining`) all call
    this alike; process 0 writes.

    Args:
      checkpoint: as `restore.load` takes it.
      out: the folder of results.
      resume: go on with the evaluation in `out`.
      devices: number of devices, in equal parts of the processes; 0 for all.
      file: where progress is printed, by default standard output.
    Raises: InputError, also if `out` holds an evaluation with other settings; Stopped after SIGTERM or Ctrl-C; OSError.
    """
    out = Path(out)
    with locked(out, "out"):
        setup = evaluation_setup(config, checkpoint, devices)
        capped = dataclasses.replace(config, batch_size=setup.batch_size(config.batch_size))
        network, images = setup.network, setup.images
        surrogate, total = _surrogate(config, network), work(config, len(network.class_names), setup.count)
        batches = evaluation_folder(out, config, setup.identity, setup.count, setup.mesh, resume)
        rows = current().decided(completed_rows(batches, lambda record: shape_of(record, setup.count)))
        completed = CompletedBatches(rows, batches.write)
        logits_fn = setup.on_devices(network.logits_in(maps_type(config.precision)))
        with stop_requests() as requests, WorkProgress(total, file=file) as progress:
            progress.note(setup.on(capped.batch_size))
            progress.note("the first batch of each kind of attack waits for a compiler")
            evaluation = evaluate(
                logits_fn, images.images, images.labels, capped, completed=completed, progress=progress,
                place=setup.place, requests=requests, surrogate=surrogate and setup.on_devices(surrogate),
            )  # fmt: skip
        report = attack_report.report(evaluation, config, setup)
        if current().is_first:
            write_whole(out / "attack.json", json.dumps(report, indent=2) + "\n")
            _write_flags(out / "flags.npz", evaluation, images)
            _draw(out, evaluation, capped, setup, report, logits_fn)
            attack_report.write_page(out, report)
        return current().decided(report)


def planned(config: AttackConfig, checkpoint: str | os.PathLike) -> str:
    """The plan of `run`, as text; loads checkpoint and images, and attacks nothing."""
    return attack_report.planned(config, evaluation_setup(config, checkpoint))


def _surrogate(config: AttackConfig, network: TrainedNetwork) -> Partial | None:
    """The surrogate network, or None. Raises: InputError if it takes other images or has other classes."""
    if not config.surrogate:
        return None
    other = restore.load(config.surrogate)
    if other.digest == network.digest:
        raise InputError(f"surrogate={config.surrogate} is the attacked network itself: expected another training")
    if (other.image_shape, other.class_names) != (network.image_shape, network.class_names):
        raise InputError(
            f"surrogate={config.surrogate} takes images {other.image_shape} of {len(other.class_names)} classes: expected "
            f"{network.image_shape} and the same {len(network.class_names)} classes as the attacked network"
        )
    return other.logits_in(maps_type(config.precision))


def _draw(
    out: Path, evaluation: Evaluation, config: AttackConfig, setup: EvaluationSetup, report: dict[str, Any], logits_fn: Partial
) -> None:
    """Draws accuracy_against_radius.png, and attacked_images.png: PGD-20 on the first images, successes in front."""
    from dsrna_jax import plots

    name, (_, images, labels) = Path(setup.checkpoint).name, setup.images
    distances = {o.row.name: o.distance for o in evaluation.table if o.distance is not None}
    title = f"{name}: accuracy under attack"
    plots.accuracy_against_radius(report, distances, out / "accuracy_against_radius.png", title=title)
    probed = evaluation.probed
    batches = run_series(
        logits_fn, images[:probed], labels[:probed], jax.random.key(config.seed), stages=[pgd_stage(20)],
        robust=evaluation.clean[:probed], radius=config.size, norm=config.norm, batch_size=config.batch_size,
    )  # fmt: skip
    batch = next(batches, None)
    if batch is None:
        return
    names = dict(enumerate(setup.network.class_names))
    order = np.argsort(~batch.result.success, kind="stable")[:_SHEET]
    chosen, x_adv = batch.indices[order], np.asarray(batch.result.x_adv)[order]
    plots.attacked_images(
        images[chosen],
        x_adv,
        [setup.network.class_names[label] for label in labels[chosen]],
        [names.get(label, "undefined") for label in predicted(logits_fn, x_adv, config.batch_size)],
        out / "attacked_images.png",
        title=f"{name}: PGD-20 within {pixels(config.size, config.norm)} ({config.norm})",
        note=f"{batch.result.success.sum()} of {len(batch.indices)} images fall, which come first; "
        "above each image its predicted class, green if it is right",
    )


def _write_flags(path: Path, evaluation: Evaluation, images: EvaluationImages) -> None:
    """Writes an .npz file: for each row, which examples are robust under it."""
    arrays = {"index": images.indices, "label": images.labels, "prediction": evaluation.predictions, "clean": evaluation.clean}
    for outcome in evaluation.table:
        arrays[outcome.row.name] = outcome.robust
        if outcome.distance is not None:
            arrays[f"{outcome.row.name} distance"] = outcome.distance
    write_arrays(path, **arrays, **{"worst case": evaluation.worst})
