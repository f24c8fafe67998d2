"""A certification from a checkpoint to a folder of results: images, resumed batches, report, picture."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial

from dsrna_jax import bounds
from dsrna_jax.attacks import example_keys
from dsrna_jax.attacks.series import batches, predicted
from dsrna_jax.bounds.explanation import free_memory, readable
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify import report as certification_report
from dsrna_jax.evaluation.certify import smoothing
from dsrna_jax.evaluation.certify.config import SMOOTHING, CertificationConfig
from dsrna_jax.evaluation.certify.radii import MINIMUM, TARGETS, attack_radii, certified_radii
from dsrna_jax.evaluation.folder import opened
from dsrna_jax.evaluation.images import Examples, examples
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.progress import WorkProgress
from dsrna_jax.runtime.records import rows as recorded
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.training import restore
from dsrna_jax.training.restore import TrainedNetwork

_TARGET, _ATTACK, _NOISE = range(3)  # streams of randomness


def run(
    config: CertificationConfig, checkpoint: str | os.PathLike, out: str | os.PathLike, *, resume: bool = False,
    devices: int = 0, file: TextIO | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Certifies the network in a checkpoint and leaves certify.json, radii.npz and a picture in `out`; what certify.json says.

    Every batch is recorded as soon as it is done. With `resume` they are not done again, and radii.npz ends as that of an
    unbroken run, bit for bit on the same machine.

    Args:
      checkpoint: as `restore.load` takes it. devices: how many share a batch; 0 for all. file: where progress goes.
    Raises: InputError, also if `out` holds a certification with other settings; Stopped after SIGTERM or Ctrl-C; OSError;
      RefutedError, after all is written, if an attack refutes a certificate.
    """
    mesh = sharding.mesh(devices)
    out, network = Path(out), restore.load(checkpoint)
    chosen = examples(config, network)
    size = min(config.batch_size, len(chosen.y))
    sharding.check_divides(size, mesh)
    explained = explanation(config, network, len(chosen.y))
    identity = {"path": str(checkpoint), "step": network.step, "digest": network.digest}
    records = opened(out, config, identity, len(chosen.y), resume)
    parts = list(batches(np.arange(len(chosen.y)), size))
    logits_fn = jax.device_put(network.logits_fn, sharding.replicated(mesh))
    done = {row["batch"] for row in recorded(records.path)} if records.path.exists() else set()
    with stop_requests() as requests, WorkProgress(len(parts), file=file) as progress:
        where = f"on {sharding.described(mesh)}"
        progress.note(f"{network.config.dataset} {config.split}: {len(chosen.y)} images, {where}\n{explained}")
        if done:
            progress.note(f"resuming after {len(done)} of {len(parts)} batches")
        progress.note("the first batch waits for a compiler (minutes the first time, seconds from the cache)")

        def pause():
            if requests:
                kept = f"{len(done)} of {len(parts)} batches are done and kept"
                raise Stopped(requests[0], f"stopped by {signal.Signals(requests[0]).name}; {kept}")

        for number, (positions, padded) in enumerate(parts):
            if number in done:
                continue
            pause()
            began = time.monotonic()
            row = _batch(config, logits_fn, chosen, positions, padded, mesh, pause)
            records.write({"batch": number, **row, "seconds": round(time.monotonic() - began, 3)})
            done.add(number)
            radius, attacked = row["radius"][MINIMUM], row["attack_radius"]
            progress.update(number + 1, radius=float(radius.mean()), attacked=attacked if attacked is None else attacked.mean())
    rows = sorted(recorded(records.path), key=lambda row: row["batch"])
    return certification_report.write(out, config, network, chosen, identity, rows)


def explanation(config: CertificationConfig, network: TrainedNetwork, count: int) -> str:
    """What a batch would cost, for people. Raises: InputError if the method would not fit into memory, or knows no rule."""
    size = min(config.batch_size, count)
    if config.method == SMOOTHING:
        draws = config.n0 + config.n
        return f"{draws:,} noisy images of each example: {draws * count:,} clean passes of one image"
    try:
        shape = jax.ShapeDtypeStruct((size, *network.image_shape), "float32")
        found = bounds.explain(network.logits_fn, shape, chunk=config.chunk)
    except NotImplementedError as error:
        raise InputError(f"this network cannot be bounded: {error}; expected method=smoothing, which needs no rules") from None
    needed, free = found.costs[config.method].bytes, free_memory()
    if free is not None and needed > free:
        fitting = [name for name, cost in found.costs.items() if cost.bytes <= free]
        raise InputError(
            f"method={config.method} would take about {readable(needed)} for a batch of {size}, and {readable(free)} are free: "
            f"give a smaller batch_size or chunk, or one of the methods that fit ({', '.join([*fitting, SMOOTHING])})"
        )
    return f"{found}\na batch of {size} by {config.method}: up to {config.tries} times that for each of {len(TARGETS)} targets"


def planned(config: CertificationConfig, checkpoint: str | os.PathLike) -> str:
    """What `run` would do, for people; loads checkpoint and images, and certifies nothing."""
    network = restore.load(checkpoint)
    count = len(examples(config, network).y)
    head = f"{network.config.dataset} {config.split}: {count} images; {network.weight_count:,} weights"
    return f"{head}\n{explanation(config, network, count)}"


def _batch(
    config: CertificationConfig, logits_fn: Partial, chosen: Examples, positions: np.ndarray, padded: np.ndarray, mesh: Mesh,
    pause: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    """What is found for the images at `positions`; `padded` fills them up to the size of a batch."""
    count, y = len(positions), chosen.y[padded]
    x = jax.device_put(chosen.x[padded], sharding.split(mesh))

    def keys(stream):
        # By the number of an image in its split, so neither batch nor order matters.
        return example_keys(jax.random.fold_in(jax.random.key(config.seed), stream), chosen.indices[padded])

    row: dict[str, Any] = {"predictions": predicted(logits_fn, x, len(x))[:count], "attack_radius": None}
    if config.method == SMOOTHING:
        draws = {"sigma": config.sigma, "chunk": config.chunk, "pause": pause}
        selection = smoothing.class_counts(logits_fn, x, keys(_NOISE), first=0, samples=config.n0, **draws)
        counts = smoothing.class_counts(logits_fn, x, keys(_NOISE), first=config.n0, samples=config.n, **draws)
        found = smoothing.certificate(selection, counts, sigma=config.sigma, alpha=config.alpha)
        radius = np.where(found.classes == y, found.radius, 0.0)
        return row | {"smoothed": found.classes[:count], "radius": {MINIMUM: radius[:count]}}
    draws = np.asarray(jax.vmap(jax.random.uniform)(keys(_TARGET)))
    options = {"norm": config.norm, "method": config.method, "clip": config.clip, "chunk": config.chunk, "steps": config.tries}
    radii = certified_radii(logits_fn, x, y, draws, **options, pause=pause)
    row["radius"] = {target: values[:count] for target, values in zip(TARGETS, radii, strict=True)}
    if config.attack != "none":
        attack = {"name": config.attack, "norm": config.norm, "steps": config.attack_steps}
        row["attack_radius"] = attack_radii(logits_fn, x, y, keys(_ATTACK), **attack, pause=pause)[:count]
    return row
