"""A trained network under attack, from its checkpoint to a folder of results: data, resumed batches, report, pictures."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np

from dsrna_jax import attack_report, evaluation, sharding, trained
from dsrna_jax.attack_config import AttackConfig
from dsrna_jax.attack_plan import pgd_stage, pixels
from dsrna_jax.attacks.series import predicted, run_series
from dsrna_jax.config import differences
from dsrna_jax.data import Dataset, batch_indices, load, stratified_shares
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation import Evaluation, Memory
from dsrna_jax.interruption import stop_requests
from dsrna_jax.records import Records, WorkProgress
from dsrna_jax.records import rows as recorded
from dsrna_jax.run_folder import write_whole
from dsrna_jax.trained import TrainedNetwork

BATCHES, SETTINGS = "batches.jsonl", "settings.json"


class Examples(NamedTuple):
    """What is attacked: `indices` into the split of the data set, images [examples, ...] in [0, 1], labels."""

    indices: np.ndarray
    x: np.ndarray
    y: np.ndarray


def examples(config: AttackConfig, network: TrainedNetwork) -> Examples:
    """The images that a configuration draws for a network, in an order by which fewer of them are the first of more.

    Raises: InputError if the split is absent or empty, or not of the images and classes that the network was trained on.
    """
    was = network.config
    data_dir, is_held_out = config.data_dir or was.data_dir or None, config.split == "held_out"
    dataset = load(was.dataset, "train" if is_held_out else config.split, data_dir, was.image_size)
    _check_fits(dataset, network, config)
    chosen = stratified_shares(dataset.labels, was.held_out, was.seed)[0] if is_held_out else np.arange(len(dataset))
    if not len(chosen):
        raise InputError(f"split={config.split} of {was.dataset} holds no image: expected a split with images, such as test")
    order = chosen[batch_indices(0, len(chosen), len(chosen), config.seed, "attack")]
    indices = order[: config.examples] if config.examples else order
    return Examples(indices, np.float32(dataset.images[indices]) / 255, dataset.labels[indices])


def _check_fits(dataset: Dataset, network: TrainedNetwork, config: AttackConfig) -> None:
    for what, here, there in (
        ("images", dataset.image_shape, network.image_shape),
        ("classes", dataset.class_names, network.class_names),
    ):
        if tuple(here) != tuple(there):
            here, there = (f"{len(v)} classes" if what == "classes" else "x".join(map(str, v)) for v in (here, there))
            raise InputError(
                f"{dataset.name} ({config.split}) has other {what} than those that the network was trained on: "
                f"expected {there}, got {here}{' of other names' if here == there else ''}; give the data_dir of its training"
            )


def home(checkpoint: str | os.PathLike, config: AttackConfig) -> Path:
    """Where results go by default: the folder of the run that a checkpoint is of, else beside the checkpoint, never inside."""
    path, name = Path(checkpoint), f"attack_{config.tier}_{config.norm}"
    runs = [folder for folder in (path, *path.absolute().parents[:2]) if (folder / "config.json").is_file()]
    return runs[0] / name if runs else path.with_name(f"{path.absolute().name}_{name}")


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
      checkpoint: as `trained.load` takes it. devices: how many share a batch; 0 for all. file: where progress goes.
    Raises: InputError, also if `out` holds an evaluation with other settings; Stopped after SIGTERM or Ctrl-C; OSError.
    """
    mesh = sharding.mesh(devices)
    sharding.check_divides(config.batch_size, mesh)
    out, network = Path(out), trained.load(checkpoint)
    chosen = examples(config, network)
    identity = {"path": str(checkpoint), "step": network.step, "digest": network.digest}
    memory = _memory(out, config, identity, len(chosen.y), resume)
    weights = jax.device_put(network.logits_fn, sharding.replicated(mesh))
    total = evaluation.work(config, len(network.class_names), len(chosen.y))
    with stop_requests() as requests, WorkProgress(total, file=file) as progress:
        progress.note(f"{network.config.dataset} {config.split}: {len(chosen.y)} images, on {sharding.described(mesh)}")
        progress.note("the first batch of each kind of attack waits for a compiler")
        found = evaluation.evaluate(
            weights, chosen.x, chosen.y, config, memory=memory, progress=progress, requests=requests,
            place=lambda batch: jax.device_put(batch, sharding.split(mesh)),
        )  # fmt: skip
    report = attack_report.report(found, config, network, identity, sharding.described(mesh))
    write_whole(out / "attack.json", json.dumps(report, indent=2) + "\n")
    _write_flags(out / "flags.npz", found, chosen)
    _draw(out, found, chosen, report, network, weights)
    return report


def planned(config: AttackConfig, checkpoint: str | os.PathLike) -> str:
    """What `run` would do, for people; loads checkpoint and images, and attacks nothing."""
    network = trained.load(checkpoint)
    return attack_report.planned(config, network, len(examples(config, network).y))


def _memory(out: Path, config: AttackConfig, identity: dict[str, Any], count: int, resume: bool) -> Memory:
    """What `out` holds of this evaluation. Raises: InputError if it holds another one, or one that is not to go on."""
    if out.exists() and not out.is_dir():
        raise InputError(f"out {out} is a file: expected a folder, or a path where one can be made")
    settings = {**dataclasses.asdict(config), "data_dir": None, "images": count}
    settings |= {f"checkpoint {name}": identity[name] for name in ("step", "digest")}
    batches = Records(out / BATCHES)
    if not (out / SETTINGS).exists():
        if resume:
            raise InputError(f"no evaluation to resume in {out}: start it without --resume")
    elif not resume:
        raise InputError(f"{out} already holds an evaluation: give --resume to go on with it, or another --out")
    elif changed := differences(_saved(out / SETTINGS), settings):
        raise InputError(
            f"{out} holds an evaluation with other settings ({'; '.join(changed)}): "
            "resume with those it was started with, or give another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SETTINGS, json.dumps(settings, indent=2) + "\n")
    batches.truncate(0)  # a line that was not finished
    return Memory(recorded(batches.path) if batches.path.exists() else (), batches.write)


def _saved(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): give another --out") from None


def _draw(out: Path, found: Evaluation, chosen: Examples, report, network: TrainedNetwork, weights) -> None:
    """accuracy_against_radius.png, and attacked_images.png: what PGD-20 makes of the first images that fall to it."""
    from dsrna_jax import attack_plots

    norm, radius = report["config"]["norm"], report["config"]["radius"]
    name = Path(report["checkpoint"]["path"]).name
    distances = {o.row.name: o.distance for o in found.table if o.distance is not None}
    title = f"{name}: accuracy under attack"
    attack_plots.accuracy_against_radius(report, distances, out / "accuracy_against_radius.png", title=title)
    key = jax.random.key(report["config"]["seed"])
    options = {"radius": radius, "norm": norm, "batch_size": report["config"]["batch_size"]}
    robust = found.clean[: found.probed].copy()
    batch = next(run_series(weights, [pgd_stage(20)], chosen.x, chosen.y, key, robust=robust, **options), None)
    if batch is None:
        return
    order = np.argsort(~batch.result.success, kind="stable")[: attack_plots.SHOWN]
    x_adv = batch.result.x_adv[order]
    attack_plots.attacked_images(
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez(temporary, **arrays, **{"worst case": found.worst})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
