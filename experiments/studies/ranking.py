"""Compares how certificates rank networks of random cells with how the networks' certified radii do.

    python -m experiments.studies.ranking --networks=20

Every network has a random cell, is trained on the handwritten digits, and gets R from each certificate (by interval bounds) and
its CROWN certified radius, all on the same images. Prints Spearman's rank correlations with bootstrap intervals. A network that
is done is not done again: run the same command after a stop.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax import strict_json
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import enable_compilation_cache, execute
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.strict_json import Nullable
from dsrna_jax.training.config import TrainingConfig

CONFIG = TrainingConfig(cells=3, channels=4, auxiliary_weight=0.0, epochs=8, held_out=0.0, batch_size=128)
RESAMPLES = 2000
RADII = (0.03, 1e-3)  # of the certificates, in pixels; for `cell` in the units of states


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = no_flags()
    define(values, "networks", 20, "how many random cells", "[3, 10000]")
    define(values, "first", 0, "seed of the first of them", "[0, 4e9]")
    define(values, "images", 8, "test images on which networks are certified", "[1, 1e6]")
    define(values, "epochs", CONFIG.epochs, "epochs of each training", "[1, 1e6]")
    define(values, "run_dir", "runs/ranking", "where trainings and results go")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    check_path(values.run_dir, "run_dir")
    enable_compilation_cache()
    rows = []
    for seed in range(values.first, values.first + values.networks):
        results = row(f"random:{seed}", Path(values.run_dir) / f"random_{seed}", values.images, values.epochs)
        print(f"seed {seed} {' '.join(f'{name} {value:.4g}' for name, value in results.items())}", flush=True)
        rows.append(results)
    print(f"{correlations(rows)}\n\n{spread(rows)}")
    print(f"\n{values.run_dir} holds a folder for each network, with ranking.json.")


def row(genotype: str, folder: Path, images: int, epochs: int = CONFIG.epochs) -> dict[str, float]:
    """`certified` of the network of one cell, which is trained if it is not yet."""
    import dataclasses

    from dsrna_jax.training import run as training_run

    file = folder / "ranking.json"
    if file.exists():
        found = strict_json.read(file, {str: Nullable(float)})
        return {name: math.nan if value is None else value for name, value in found.items()}
    config = dataclasses.replace(CONFIG, genotype=genotype, epochs=epochs)
    training_run.run(config, folder, resume=(folder / "config.json").exists())
    results = certified(folder, images)
    write_whole(
        file, json.dumps({name: None if math.isnan(value) else value for name, value in results.items()}, indent=2) + "\n"
    )
    return results


def certified(folder: Path, count: int) -> dict[str, float]:
    """Mean R of each certificate at each of `RADII`, the mean CROWN radius (l_inf, pixels), and accuracy."""
    import jax
    import jax.numpy as jnp

    from dsrna_jax import data
    from dsrna_jax.measures.certificates import CERTIFICATES
    from dsrna_jax.networks.function import NetworkFunction
    from dsrna_jax.runtime import sharding
    from dsrna_jax.training import restore

    loaded, test = restore.load(folder), data.load("digits", "test")
    images, labels = jnp.asarray(test.images, jnp.float32) / 255, jnp.asarray(test.labels)
    right = np.flatnonzero(np.asarray(jax.jit(loaded.logits_fn)(images)).argmax(1) == test.labels)
    results = {"accuracy": len(right) / len(test.labels)}
    images, labels = images[right[:count]], labels[right[:count]]
    net = NetworkFunction(loaded.network, loaded.variables)

    options = sharding.compiler_options(sharding.mesh(1))

    def measured(log_radius):
        key = jax.random.key(0)
        r = {name: f(net, images, labels, key, log_radius=log_radius).robustness for name, f in CERTIFICATES.items()}
        return {name: values.mean() for name, values in r.items()}

    measured = jax.jit(measured, compiler_options=options)
    for radius in RADII:
        results |= {f"{name}@{radius:g}": float(r) for name, r in measured(jnp.log(jnp.float32(radius))).items()}
    return results | {"crown_radius": crown_radius(loaded.logits_fn, images, labels)}


def crown_radius(logits_fn: Callable, images: Any, labels: Any) -> float:
    """Mean of the certified radii (l_inf, pixels) by CROWN around images that are classified as their labels say."""
    import jax

    from dsrna_jax import bounds
    from dsrna_jax.evaluation.certify.radius_search import largest_radii, lost_share
    from dsrna_jax.runtime import sharding

    def margins(radius):
        return bounds.margin(logits_fn, images, labels, radius=radius, method="crown")

    margins = jax.jit(margins, compiler_options=sharding.compiler_options(sharding.mesh(1)))
    clean = np.asarray(margins(np.zeros(len(labels), np.float32)), float)
    search = {"start": 1e-3, "limit": 1.0, "steps": 14, "accuracy": 0.01}
    radii = largest_radii(lambda radius: lost_share(clean, np.asarray(margins(radius)))[None], 1, clean > 0, **search)
    return float(radii.mean())


def correlations(rows: list[dict[str, float]]) -> str:
    """Spearman's rank correlation of each column with the CROWN radius, as a Markdown table with 95 % intervals.

    The intervals are percentiles over `RESAMPLES` draws of as many networks with replacement, by a fixed seed.
    """
    from scipy.stats import spearmanr

    names = [name for name in rows[0] if name != "crown_radius"]
    values = np.array([[row[name] for name in [*names, "crown_radius"]] for row in rows])
    draws = np.random.default_rng(0).integers(len(rows), size=(RESAMPLES, len(rows)))
    lines = [f"\n| of {len(rows)} networks | rank correlation with the CROWN radius | 95 % interval |", "|---|---|---|"]
    for index, name in enumerate(names):
        column, truth = values[:, index], values[:, -1]
        drawn = [spearmanr(column[draw], truth[draw])[0] for draw in draws if np.ptp(column[draw]) and np.ptp(truth[draw])]
        low, high = np.percentile(drawn, [2.5, 97.5])
        lines.append(f"| {name} | {spearmanr(column, truth)[0]:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def spread(rows: list[dict[str, float]]) -> str:
    """Mean and range of the CROWN radii and of the accuracies, as text."""
    radii, accuracies = (np.array([row[name] for row in rows]) for name in ("crown_radius", "accuracy"))
    return (
        f"CROWN radius {radii.mean():.4f} on average, {radii.min():.4f} to {radii.max():.4f}; "
        f"accuracy {accuracies.min():.0%} to {accuracies.max():.0%}"
    )


if __name__ == "__main__":
    execute(main)
