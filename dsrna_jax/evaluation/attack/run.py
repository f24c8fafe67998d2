"""A trained network under attack, from its checkpoint to a folder of results: data, resumed batches, report, pictures."""

import json
import os
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

from dsrna_jax.attacks.series import predicted, run_series
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import evaluate
from dsrna_jax.evaluation.attack import report as attack_report
from dsrna_jax.evaluation.attack.budgets import pgd_stage, pixels
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.evaluate import Evaluation, Memory
from dsrna_jax.evaluation.folder import opened, write_arrays
from dsrna_jax.evaluation.images import Examples, examples
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.files import write_whole
from dsrna_jax.runtime.progress import WorkProgress
from dsrna_jax.runtime.records import rows as recorded
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
    """Attacks the network in a checkpoint and leaves attack.json, flags.npz and pictures in `out`; the content of attack.json.

    Every batch is recorded as soon as it is done. With `resume` they are not run again, and flags.npz ends as that of an
    unbroken evaluation, bit for bit on the same machine.

    Args:
      checkpoint: as `restore.load` takes it. devices: how many share a batch; 0 for all. file: where progress goes.
    Raises: InputError, also if `out` holds an evaluation with other settings; Stopped after SIGTERM or Ctrl-C; OSError.
    """
    mesh = sharding.mesh(devices)
    sharding.check_divides(config.batch_size, mesh)
    out, network = Path(out), restore.load(checkpoint)
    chosen, surrogate = examples(config, network), _surrogate(config, network)
    identity = {"path": str(checkpoint), "step": network.step, "digest": network.digest}
    memory = _memory(out, config, identity, len(chosen.y), resume)
    weights = jax.device_put(network.logits_fn, sharding.replicated(mesh))
    total = evaluate.work(config, len(network.class_names), len(chosen.y))
    with stop_requests() as requests, WorkProgress(total, file=file) as progress:
        progress.note(f"{network.config.dataset} {config.split}: {len(chosen.y)} images, on {sharding.described(mesh)}")
        progress.note("the first batch of each kind of attack waits for a compiler")
        found = evaluate.evaluate(
            weights, chosen.x, chosen.y, config, memory=memory, progress=progress, requests=requests,
            place=lambda batch: jax.device_put(batch, sharding.split(mesh)),
            surrogate=surrogate and jax.device_put(surrogate, sharding.replicated(mesh)),
        )  # fmt: skip
    report = attack_report.report(found, config, network, identity, sharding.described(mesh))
    write_whole(out / "attack.json", json.dumps(report, indent=2) + "\n")
    _write_flags(out / "flags.npz", found, chosen)
    _draw(out, found, chosen, report, network, weights)
    return report


def planned(config: AttackConfig, checkpoint: str | os.PathLike) -> str:
    """What `run` would do, for people; loads checkpoint and images, and attacks nothing."""
    network = restore.load(checkpoint)
    return attack_report.planned(config, network, len(examples(config, network).y))


def _surrogate(config: AttackConfig, network: TrainedNetwork):
    """The function that lends its gradients, if any. Raises: InputError if it takes other images or knows other classes."""
    if not config.surrogate:
        return None
    found = restore.load(config.surrogate)
    if found.digest == network.digest:
        raise InputError(f"surrogate={config.surrogate} is the attacked network itself: expected another training")
    if (found.image_shape, found.class_names) != (network.image_shape, network.class_names):
        raise InputError(
            f"surrogate={config.surrogate} takes images {found.image_shape} of {len(found.class_names)} classes: expected "
            f"{network.image_shape} and the same {len(network.class_names)} classes as the attacked network"
        )
    return found.logits_fn


def _memory(out: Path, config: AttackConfig, identity: dict[str, Any], count: int, resume: bool) -> Memory:
    batches = opened(out, config, identity, count, resume)
    return Memory(recorded(batches.path) if batches.path.exists() else (), batches.write)


def _draw(out: Path, found: Evaluation, chosen: Examples, report, network: TrainedNetwork, weights) -> None:
    """accuracy_against_radius.png, and attacked_images.png: what PGD-20 makes of the first images that fall to it."""
    from dsrna_jax import plots

    norm, radius = report["config"]["norm"], report["config"]["radius"]
    name = Path(report["checkpoint"]["path"]).name
    distances = {o.row.name: o.distance for o in found.table if o.distance is not None}
    title = f"{name}: accuracy under attack"
    plots.accuracy_against_radius(report, distances, out / "accuracy_against_radius.png", title=title)
    key = jax.random.key(report["config"]["seed"])
    options = {"radius": radius, "norm": norm, "batch_size": report["config"]["batch_size"]}
    robust = found.clean[: found.probed].copy()
    batch = next(run_series(weights, [pgd_stage(20)], chosen.x, chosen.y, key, robust=robust, **options), None)
    if batch is None:
        return
    order = np.argsort(~batch.result.success, kind="stable")[:_SHEET]
    x_adv = batch.result.x_adv[order]
    plots.attacked_images(
        chosen.x[batch.indices[order]],
        x_adv,
        [network.class_names[label] for label in chosen.y[batch.indices[order]]],
        [network.class_names[label] for label in predicted(weights, x_adv, options["batch_size"])],
        out / "attacked_images.png",
        title=f"{name}: PGD-20 within {pixels(radius, norm)} ({norm})",
        note=f"{batch.result.success.sum()} of {len(batch.indices)} images fall, which come first; "
        "above each image the class that is predicted, green where it is right",
    )


def _write_flags(path: Path, found: Evaluation, chosen: Examples) -> None:
    """Which examples are robust under which row, as arrays by the name of the row."""
    arrays = {"index": chosen.indices, "label": chosen.y, "prediction": found.predictions, "clean": found.clean}
    for outcome in found.table:
        arrays[outcome.row.name] = outcome.robust
        if outcome.distance is not None:
            arrays[f"{outcome.row.name} distance"] = outcome.distance
    write_arrays(path, **arrays, **{"worst case": found.worst})
