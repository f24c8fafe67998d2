"""A verification from a checkpoint to a folder of results: a row for each image, resumed images, verify.json."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax import bounds
from dsrna_jax.attacks.predictions import predicted
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation import page
from dsrna_jax.evaluation.folder import completed_rows, evaluation_folder, write_arrays
from dsrna_jax.evaluation.report import accuracy_entry, origins
from dsrna_jax.evaluation.setup import EvaluationSetup, evaluation_setup, stop_if_requested
from dsrna_jax.evaluation.timed_verdict import timed_verdict
from dsrna_jax.evaluation.verify.config import VerificationConfig
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.options import interval
from dsrna_jax.runtime.progress import WorkProgress
from dsrna_jax.runtime.records import Records
from dsrna_jax.runtime.signals import stop_requests
from dsrna_jax.strict_json import Nullable

STATUSES = ("verified", "counterexample", "unknown", "misclassified")
_NUMBER = interval("[-1e30, 1e30]")


def run(
    config: VerificationConfig,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
) -> dict[str, Any]:
    """Verifies the network in a checkpoint around images, and writes verify.json and counterexamples.npz to `out`.

    An image is "verified" if the network provably classifies every image of the ball as it is labelled, has a "counterexample",
    is "unknown" after its time, or "misclassified" itself. Every image is recorded as soon as it is done; with `resume` recorded
    images are not done again. Several processes (`runtime.joining`) all call this alike, and share out the images; process 0
    writes.

    Args:
      checkpoint: as `restore.load` takes it.
      out: the folder of results.
      resume: go on with the verification in `out`.
      devices: 0 or 1, as each process verifies its images one after the other.
      file: where progress is printed, by default standard output.
    Returns: verify.json.
    Raises: InputError, also if `out` holds a verification with other settings; Stopped after SIGTERM or Ctrl-C; OSError.
    """
    if devices > 1:
        raise InputError(f"images are verified one after the other, on one device: leave out devices={devices}")
    out = Path(out)
    with locked(out, "out"):
        processes = joined()
        setup = evaluation_setup(config, checkpoint, jax.process_count())
        records = evaluation_folder(out, config, setup.identity, setup.count, setup.mesh, resume)
        rows = _completed(records, setup)
        waiting = processes.decided([number for number in range(setup.count) if number not in rows])
        with stop_requests() as requests, WorkProgress(setup.count, file=file) as progress:
            progress.note(setup.on(1))
            if rows:
                progress.note(f"resuming after {len(rows)} of {setup.count} images")
            predictions = predicted(setup.network.logits_fn, setup.images.images, setup.count)

            def verified(number: int) -> dict[str, Any]:
                stop_if_requested(requests, f"{len(rows)} of {setup.count} images are done and kept", progress)
                return {"batch": number, **_row(config, setup, number, int(predictions[number]))}

            for number, row in processes.shared_out(verified, waiting):
                rows[number] = row
                records.write(row)
                progress.update(len(rows), verified=sum(row["status"] == "verified" for row in rows.values()))
        ordered = [rows[number] for number in sorted(rows)]
        return processes.decided(_written(out, config, setup, ordered) if processes.is_first else {})


def planned(config: VerificationConfig, checkpoint: str | os.PathLike) -> str:
    """The plan of `run`, as text; loads checkpoint and images, and verifies nothing."""
    setup = evaluation_setup(config, checkpoint, 1)
    return (
        f"{setup.heading}; {setup.network.weight_count:,} weights\n"
        f"l-infinity balls of {config.radius:g}; at most {setup.count * config.timeout:,.0f} s, {config.timeout:g} s an image"
    )


def _row(config: VerificationConfig, setup: EvaluationSetup, number: int, prediction: int) -> dict[str, Any]:
    """The record of one image."""
    label, image = int(setup.images.labels[number]), setup.images.images[number : number + 1]
    about = {"index": int(setup.images.indices[number]), "label": label, "prediction": prediction}
    if prediction != label:
        return about | {"status": "misclassified", "reason": "", "seconds": 0.0, "branches": 0, "counterexample": None}
    exact = image.astype(np.float64)
    region = bounds.Box(np.maximum(exact - config.radius, 0.0), np.minimum(exact + config.radius, 1.0))
    specification = bounds.Specification.of_label(jnp.array([label]), len(setup.network.class_names))
    try:
        verdict = timed_verdict(setup.network.logits_fn, region, specification, timeout=config.timeout)
    except NotImplementedError as error:
        raise InputError(f"this network cannot be bounded: {error}") from error
    point = verdict.counterexample
    return about | {
        "status": verdict.status,
        "reason": verdict.reason,
        "seconds": round(float(verdict.seconds), 3),
        "branches": int(verdict.branches),
        "counterexample": None if point is None else np.asarray(point, float).ravel().tolist(),
    }


def _completed(records: Records, setup: EvaluationSetup) -> dict[int, dict[str, Any]]:
    """The recorded images by their number. Raises: InputError, which names the file, if a row is damaged or occurs twice."""
    size = int(np.prod(setup.network.image_shape))

    def shape_of(row: dict[str, Any]) -> dict[str, Any]:
        point = row.get("counterexample")
        if isinstance(point, list) and len(point) != size:
            raise InputError(f"expected a counterexample of {size} pixels")
        return {
            "batch": (int, interval(f"[0, {setup.count - 1}]")),
            "status": frozenset(STATUSES),
            "reason": str,
            "seconds": _NUMBER,
            "branches": (int, interval("[0, 1e18]")),
            "counterexample": Nullable([_NUMBER]),
        }

    rows = completed_rows(records, shape_of)
    numbers = [row["batch"] for row in rows]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise InputError(f"{records.path} holds image {min(twice)} twice: delete one of its lines")
    return dict(zip(numbers, rows, strict=True))


def _written(out: Path, config: VerificationConfig, setup: EvaluationSetup, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes verify.json and counterexamples.npz; returns the former."""
    statuses = np.array([row["status"] for row in rows])
    report = {
        "experiment": "verify",
        "config": dataclasses.asdict(config),
        "checkpoint": setup.identity,
        "dataset": setup.network.config.dataset,
        "examples": len(rows),
        "norm": "linf",
        "clean": accuracy_entry(statuses != "misclassified"),
        "verified": accuracy_entry(statuses == "verified"),
        "counts": {status: int((statuses == status).sum()) for status in STATUSES},
        "rows": [{name: value for name, value in row.items() if name in _SHOWN} for row in rows],
        **origins(setup.mesh),
    }
    write_whole(out / "verify.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    counterexamples = [(row["index"], row["counterexample"]) for row in rows if row["counterexample"] is not None]
    images = np.array([pixels for _, pixels in counterexamples]).reshape(len(counterexamples), *setup.network.image_shape)
    write_arrays(out / "counterexamples.npz", index=np.array([index for index, _ in counterexamples], int), image=images)
    _write_page(out, report)
    return report


_SHOWN = ("index", "label", "prediction", "status", "reason", "seconds", "branches")


def _write_page(out: Path, report: dict[str, Any]) -> None:
    heads = ("image", *_SHOWN[1:])
    rows = [tuple(str(row[name]) for name in _SHOWN) for row in report["rows"]]
    caption = f"{report['examples']} {report['config']['split']} images of {report['dataset']}, a row for each."
    page.write_page(out, "verification of", report, [heads, *rows], caption, lines(report).splitlines()[-2:], {})


def lines(report: dict[str, Any]) -> str:
    """verify.json as text: a row for each image, and the shares."""
    heading = f"{'image':>8}  {'label':>5}  {'status':14}  {'seconds':>8}  {'branches':>8}  reason"
    rows = [
        f"{row['index']:8}  {row['label']:5}  {row['status']:14}  {row['seconds']:8.2f}  {row['branches']:8}  {row['reason']}"
        for row in report["rows"]
    ]
    counts = ", ".join(f"{count} {status}" for status, count in report["counts"].items() if count)
    share = report["verified"]
    return "\n".join([
        heading, *rows, "",
        f"{report['examples']} images of {report['dataset']}, l-infinity balls of {report['config']['radius']:g}: {counts}",
        f"verified accuracy {share['accuracy']:.1%} (95 %: {share['low']:.1%} to {share['high']:.1%})",
    ])  # fmt: skip
