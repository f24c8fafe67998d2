"""A certification from a checkpoint to a folder of results: images, resumed batches, report, picture."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax import bounds
from dsrna_jax.attacks.keys import example_keys
from dsrna_jax.attacks.predictions import batches, predicted
from dsrna_jax.bounds.explanation import shortage
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify import report as certification_report
from dsrna_jax.evaluation.certify import smoothing
from dsrna_jax.evaluation.certify.attack_radii import attack_radii
from dsrna_jax.evaluation.certify.completed import certified_rows
from dsrna_jax.evaluation.certify.config import SMOOTHING, VERIFY, CertificationConfig
from dsrna_jax.evaluation.certify.exact_radii import INTERMEDIATE, verified_radii
from dsrna_jax.evaluation.certify.radii import MINIMUM, TARGETS, certified_radii
from dsrna_jax.evaluation.folder import evaluation_folder
from dsrna_jax.evaluation.setup import EvaluationSetup, evaluation_setup, stop_if_requested
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.progress import WorkProgress
from dsrna_jax.runtime.signals import stop_requests

_TARGET, _ATTACK, _NOISE = range(3)  # streams of randomness


def run(
    config: CertificationConfig,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
) -> dict[str, Any]:
    """Certifies the network in a checkpoint, and writes certify.json, radii.npz and a picture to `out`; returns certify.json.

    Every batch is recorded as soon as it is done. With `resume` recorded batches are not done again, and radii.npz ends as that
    of an unbroken run, bit for bit on one machine and one number of CPU cores. Several processes (`runtime.joining`) all call
    this alike, and share out the batches; process 0 writes.

    Args:
      checkpoint: as `restore.load` takes it.
      out: the folder of results.
      resume: go on with the certification in `out`.
      devices: number of devices, in equal parts of the processes; 0 for all.
      file: where progress is printed, by default standard output.
    Raises: InputError, also if `out` holds a certification with other settings; Stopped after SIGTERM or Ctrl-C; OSError;
      RefutedError, after all is written, if an attack refutes a certificate.
    """
    out = Path(out)
    with locked(out, "out"):
        setup = evaluation_setup(config, checkpoint, devices)
        size = setup.batch_size(config.batch_size)
        explained, problem = _explanation(config, setup)
        if problem:
            raise InputError(problem)
        records = evaluation_folder(out, config, setup.identity, setup.count, setup.mesh, resume)
        parts = list(batches(np.arange(setup.count), size))
        network = sharding.placed(setup.network.logits_fn, sharding.replicated(setup.mesh))
        sizes = [len(positions) for positions, _ in parts]
        completed, processes = set(certified_rows(records, sizes)), current()
        waiting = processes.decided([number for number in range(len(parts)) if number not in completed])
        with stop_requests() as requests, WorkProgress(len(parts), file=file) as progress:
            progress.note(f"{setup.on(size)}\n{explained}")
            if completed:
                progress.note(f"resuming after {len(completed)} of {len(parts)} batches")
            progress.note("the first batch waits for a compiler (minutes the first time, seconds from the cache)")

            def pause():
                stop_if_requested(requests, f"{len(completed)} of {len(parts)} batches are done and kept", progress)

            def certified(number: int) -> dict[str, Any]:
                pause()
                began = time.monotonic()
                row = _batch_row(config, setup, network, *parts[number], pause)
                return {"batch": number, **row, "seconds": round(time.monotonic() - began, 3)}

            for number, row in processes.shared_out(certified, waiting):
                records.write(row)
                completed.add(number)
                means = {"radius": row["radius"][MINIMUM], "attacked": row["attack_radius"]}
                shown = {name: None if sizes is None else float(np.mean(sizes)) for name, sizes in means.items()}
                progress.update(len(completed), **shown)
        rows = list(certified_rows(records, sizes).values())
        return processes.decided(certification_report.write(out, config, setup, rows) if processes.is_first else {})


def planned(config: CertificationConfig, checkpoint: str | os.PathLike) -> str:
    """The plan of `run`, as text; loads checkpoint and images, and certifies nothing."""
    setup = evaluation_setup(config, checkpoint)
    explained, problem = _explanation(config, setup)
    warnings = [f"WARN: {problem}"] if problem else []
    return "\n".join([f"{setup.heading}; {setup.network.weight_count:,} weights", explained, *warnings])


def _explanation(config: CertificationConfig, setup: EvaluationSetup) -> tuple[str, str | None]:
    """The cost of a batch, as text, and the reason if it cannot run: the method lacks memory or a rule; else None."""
    size = setup.batch_size(config.batch_size)
    if config.method == SMOOTHING:
        draws = config.n0 + config.n
        return f"{draws:,} noisy images of each example: {draws * setup.count:,} clean passes of one image", None
    try:
        shape = jax.ShapeDtypeStruct((size // setup.mesh.size, *setup.network.image_shape), "float32")
        explained = bounds.explain(setup.network.logits_fn, shape, chunk=config.chunk)
    except NotImplementedError as error:
        return "", f"this network cannot be bounded: {error}; expected method=smoothing, which needs no rules"
    method = INTERMEDIATE if config.method == VERIFY else config.method
    if lack := shortage(explained.costs[method]):
        fitting = [name for name, cost in explained.costs.items() if not shortage(cost)]
        problem = (
            f"method={config.method} would take about {lack} (for a batch of {size}): give a smaller batch_size or chunk, "
            f"or one of the methods that fit ({', '.join([*fitting, SMOOTHING])})"
        )
        return str(explained), problem
    if config.method == VERIFY:
        return (
            f"{explained}\neach image by itself: branch and bound at up to {config.tries} radii, of {config.timeout:g} s each",
            None,
        )
    times = f"up to {config.tries} times that" + (f" for each of {len(TARGETS)} targets" if config.per_target else "")
    return f"{explained}\na batch of {size} by {config.method}: {times}", None


def _batch_row(
    config: CertificationConfig,
    setup: EvaluationSetup,
    network: Partial,
    positions: np.ndarray,
    padded: np.ndarray,
    pause: Callable[[], None],
) -> dict[str, Any]:
    """The record of the images at `positions`, certified in the batch `padded`, which repeats them to a fixed size; as JSON."""
    count, labels = len(positions), setup.images.labels[padded]
    images, logits_fn = setup.place(setup.images.images[padded]), setup.on_devices(network)

    def keys(stream):
        # Keys follow the index of an image in its split, so that neither batch nor order matters.
        return example_keys(jax.random.fold_in(jax.random.key(config.seed), stream), setup.images.indices[padded])

    row: dict[str, Any] = {"predictions": predicted(logits_fn, images, len(images))[:count].tolist(), "attack_radius": None}
    if config.method == SMOOTHING:
        smoothed = _smoothed(config, logits_fn, images, keys(_NOISE), pause)
        radius = np.where(smoothed.classes == labels, smoothed.radius, 0.0)
        return row | {"smoothed": smoothed.classes[:count].tolist(), "radius": {MINIMUM: radius[:count].tolist()}}
    clip = (0.0, 1.0) if config.clip else None
    if config.method == VERIFY:
        verified = verified_radii(
            network, images[:count], labels[:count], clip=clip, timeout=config.timeout, steps=config.tries, pause=pause
        )
        return row | {"radius": {MINIMUM: verified.certified.tolist()}, "attack_radius": verified.attacked.tolist()}
    targets = TARGETS if config.per_target else (MINIMUM,)
    radii = certified_radii(
        network, images, labels, keys(_TARGET), targets=targets, norm=config.norm, method=config.method,
        arithmetic=config.arithmetic, clip=clip, chunk=config.chunk, steps=config.tries,
        mesh=setup.mesh, pause=pause,
    )  # fmt: skip
    row["radius"] = {target: values[:count].tolist() for target, values in zip(targets, radii, strict=True)}
    if config.attack != "none":
        sizes = attack_radii(
            logits_fn, images, labels, keys(_ATTACK), attack=config.attack, norm=config.norm, steps=config.attack_steps,
            pause=pause,
        )  # fmt: skip
        row["attack_radius"] = sizes[:count].tolist()
    return row


def _smoothed(config, logits_fn, images, keys, pause) -> smoothing.Smoothed:
    """Prediction and radius of the smoothed network; the class is chosen by other draws than those that bound its share."""
    selection, counts = (
        smoothing.class_counts(
            logits_fn, images, keys, sigma=config.sigma, first=first, samples=samples, chunk=config.chunk, pause=pause
        )
        for first, samples in ((0, config.n0), (config.n0, config.n))
    )
    return smoothing.certificate(selection, counts, sigma=config.sigma, alpha=config.alpha)
