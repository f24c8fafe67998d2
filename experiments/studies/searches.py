"""Compares all searches on the handwritten digits at an equal budget, with random cells as the control.

    python -m experiments.studies.searches --seeds=3
    python -m experiments.studies.searches --methods=gdas,random_cells --epochs=2 --train_epochs=1 --images=2 --rows=FILE

Every search passes `--epochs` times over its training half; those of a series share these passes. Its cell is then trained, and
gets accuracy, accuracy under PGD, R (the exact Jacobian norm) and CROWN's certified radius on the same test images.

`--rows` is a file of small results, by default the one of the repository. A row of the same budget that is there is not measured
again: run the same command after a stop, or on another machine.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import disable_loop_unrolling, enable_compilation_cache, execute
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.paths import check_file, check_path
from dsrna_jax.runtime.records import Records, rows
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.options.series import stages_of, weight_decays_of
from dsrna_jax.strict_json import Nullable, Optional
from dsrna_jax.training.config import TrainingConfig
from experiments.studies.question.protocol import GAMMA_0, VARIANTS
from experiments.studies.question.protocol import METHODS as ASKED

CONTROL = "random_cells"
OF_R = (GAMMA_0, *VARIANTS)  # searches whose R enters otherwise, or not at all, as `question` knows them
METHODS = (*(name.removeprefix("digits_") for name in PRESETS if name.startswith("digits_")), *OF_R, CONTROL)
TRAINING = TrainingConfig(cells=3, channels=4, auxiliary_weight=0.0, held_out=0.0, batch_size=128)
RADIUS, STEPS = 0.1, 20  # of PGD (l_inf), in pixels
ROWS = Path(__file__).with_suffix(".jsonl")
COLUMNS = ("skips", "eigenvalue", "accuracy", "pgd_accuracy", "jacobian_norm", "crown_radius")


class Budget(NamedTuple):
    """The size of the supernets, the epochs of each search and of each training, and the test images that are certified."""

    nodes: int
    channels: int
    epochs: int
    train_epochs: int
    images: int


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = no_flags()
    define(values, "methods", list(METHODS), "searches, and random_cells")
    define(values, "seeds", 3, "seeds of each", "[1, 1000]")
    define(values, "epochs", 24, "passes over the training half in each search", "[1, 1e6]")
    define(values, "train_epochs", 8, "epochs in which each cell is trained", "[1, 1e6]")
    define(values, "nodes", 2, "nodes inside a cell", "[1, 16]")
    define(values, "channels", 8, "channels of the first cell of a supernet", "[1, 4096]")
    define(values, "images", 8, "test images on which networks are certified", "[1, 1e6]")
    define(values, "run_dir", "runs/searches", "where searches and trainings go")
    define(values, "rows", str(ROWS), "file of the results")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    check_path(values.run_dir, "run_dir")
    check_file(values.rows, "rows")
    if strange := [name for name in values.methods if name not in METHODS]:
        raise InputError(f"methods has {strange[0]!r}: expected some of {', '.join(METHODS)}")
    disable_loop_unrolling()
    enable_compilation_cache()
    budget = Budget(*(getattr(values, name) for name in Budget._fields))
    known, records = measured(Path(values.rows), budget), Records(values.rows)
    for seed in range(values.seeds):
        for method in values.methods:
            if (method, seed) not in known:
                known[method, seed] = row(method, seed, Path(values.run_dir) / f"{method}_{seed}", budget)
                records.write(known[method, seed])
            print(" ".join(f"{name} {value}" for name, value in known[method, seed].items() if name != "genotype"), flush=True)
    wanted = [row for (method, seed), row in known.items() if method in values.methods and seed < values.seeds]
    print(f"\n{table(wanted)}\n\n{values.rows} holds the rows, {values.run_dir} the searches and trainings.")


def measured(file: Path, budget: Budget) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of a budget in a file, by method and seed. Raises: InputError if the file is garbled."""
    shape = {
        "method": str,
        "seed": int,
        **dict.fromkeys(Budget._fields, int),
        **dict.fromkeys(COLUMNS, Optional(Nullable(float))),
    }
    found = rows(file, lambda row: shape) if file.exists() else []
    return {(row["method"], row["seed"]): row for row in found if budget == Budget(*(row[name] for name in Budget._fields))}


def budgeted(method: str, seed: int, budget: Budget) -> SearchConfig:
    """The search of a method by its preset on the digits, of the size and with the passes over its training half of a budget."""
    _, search, flags = ASKED[method] if method in OF_R else ("", method, {})
    preset = dataclasses.replace(PRESETS[f"digits_{search}"], **flags)
    searches = len(stages_of(preset)) if preset.stages else len(weight_decays_of(preset)) if preset.weight_decays else 1
    own, size = max(2, budget.epochs // searches), {"nodes": budget.nodes, "channels": budget.channels}
    passes = {"epochs": own, "warmup_epochs": min(preset.warmup_epochs, own // 2)} if preset.epochs else {}
    every = preset.eigenvalue_every if preset.stop_eigenvalue else 0 if preset.strategy != "gradient" else own
    retraining = {"retrain_epochs": own, "retrain_channels": budget.channels} if preset.weight_decays else {}
    return dataclasses.replace(preset, seed=seed, **size, **passes, eigenvalue_every=every, **retraining)


def row(method: str, seed: int, folder: Path, budget: Budget) -> dict[str, Any]:
    """The results of one search and of the training of what it found, after the searches and trainings that `folder` lacks."""
    from dsrna_jax import genotypes
    from dsrna_jax.genotypes import zoo
    from dsrna_jax.series import run as series_run
    from dsrna_jax.training import run as training_run

    cells, searched = TRAINING.cells, folder / "search"
    if method == CONTROL:
        found, results = zoo.random(seed, budget.nodes), {}
        searched.mkdir(parents=True, exist_ok=True)
        genotypes.save(found, searched / "genotype.json")
    else:
        config = budgeted(method, seed, budget)
        if not (folder / "found").exists():
            series_run.run(config, searched, resume=(searched / "config.json").exists())
            (folder / "found").touch()
        found, results = genotypes.load(searched / "genotype.json"), of_search(searched)
        cells = config.cells if config.cell_free or config.space == "proxyless" else cells
    training = dataclasses.replace(TRAINING, genotype=str(searched), epochs=budget.train_epochs, cells=cells, seed=seed)
    trained = folder / "training"
    training_run.run(training, trained, resume=(trained / "config.json").exists())
    groups = getattr(found, "groups", ())
    skips = {"skips": genotypes.skip_count(found, groups[0])} if groups else {}
    results = skips | results | of_network(trained, budget.images)
    return {"method": method, "seed": seed, **budget._asdict(), "genotype": genotypes.to_json(found), **results}


def of_search(folder: Path) -> dict[str, float]:
    """The last eigenvalue of a search, if it was measured."""
    eigenvalues = [epoch["eigenvalue"] for epoch in rows(folder / "metrics.jsonl") if epoch.get("eigenvalue") is not None]
    return {"eigenvalue": eigenvalues[-1]} if eigenvalues else {}


def of_network(folder: Path, count: int) -> dict[str, float]:
    """Accuracy and accuracy under PGD on all test images; Jacobian norm and CROWN radius on the first `count` that are right."""
    import jax
    import jax.numpy as jnp

    from dsrna_jax import attacks, data
    from dsrna_jax.measures.jacobian import jacobian_norm
    from dsrna_jax.training import restore
    from experiments.studies.ranking import crown_radius

    loaded, test = restore.load(folder), data.load("digits", "test")
    images, labels = jnp.asarray(test.images, jnp.float32) / 255, jnp.asarray(test.labels)
    is_right = np.asarray(jax.jit(loaded.logits_fn)(images)).argmax(1) == test.labels
    attack = jax.jit(lambda x: attacks.pgd(loaded.logits_fn, x, labels, jax.random.key(0), radius=RADIUS, steps=STEPS).success)
    stays = is_right & ~np.asarray(attack(images))
    right = np.flatnonzero(is_right)[:count]
    results = {"accuracy": float(is_right.mean()), "pgd_accuracy": float(stays.mean())}
    if not len(right):
        return results
    norm = jax.jit(lambda x: jacobian_norm(loaded.logits_fn, x, norm="row_l2", method="exact"))(images[right])
    return results | {
        "jacobian_norm": float(norm.mean()),
        "crown_radius": crown_radius(loaded.logits_fn, images[right], labels[right]),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the seeds of each method, with standard deviations where there are several, as a Markdown table."""
    lines = [f"| search | seeds | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        cells = [_cell([row[name] for row in own if row.get(name) is not None]) for name in COLUMNS]
        lines.append(f"| {method} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.4g}" + (f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else "")


if __name__ == "__main__":
    execute(main)
