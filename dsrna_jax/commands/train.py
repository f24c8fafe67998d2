"""Trains the network that a genotype describes, from scratch, and leaves all it learns in a run folder.

python -m experiments.train --genotype=runs/digits_dsrna_jacobian          what a search has found, on handwritten digits
python -m experiments.train --genotype=PC_DARTS_cifar --adversarial=pgd    a published cell, against PGD
python -m experiments.train --genotype=list                                the published cells
python -m experiments.train --preset=cifar10 --genotype=DARTS_V2 --data_dir=PATH --dry_run      weights, operations, memory
python -m experiments.train --run_dir=runs/... --resume                    goes on where a run stopped
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsrna_jax.commands.flags import config_flags, parse, typed
from dsrna_jax.commands.process import keep_compilations
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.errors import AbsentDataError
from dsrna_jax.genotypes import zoo
from dsrna_jax.runtime import run_folder
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training.config import TrainingConfig


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = config_flags(TRAINING_PRESETS["digits"])
    own = {"flag_values": values, "module_name": "command"}
    flags.DEFINE_enum("preset", "digits", list(TRAINING_PRESETS), "configuration that flags override", **own)
    flags.DEFINE_string("run_dir", None, "folder of the run; by default runs/train_PRESET_GENOTYPE", **own)
    flags.DEFINE_boolean("resume", False, "go on with the run in run_dir, with its own configuration", **own)
    flags.DEFINE_boolean("dry_run", False, "show configuration, weights, operations and memory, and train nothing", **own)
    flags.DEFINE_integer("devices", 0, "devices that share a batch; 0 for all", **own)
    parse(values, argv, TRAINING_PRESETS["digits"])
    if values.help:
        print(f"{__doc__}\nDefaults are those of the preset digits.\n{values.get_help()}")
        return
    if values.genotype == "list":
        print(zoo.listing())
        return
    name = Path(values.genotype).name.removesuffix(".json").replace(":", "_")
    run_dir = Path(values.run_dir or f"runs/train_{values.preset}_{name}")
    is_given = values["preset"].present or not values.resume
    kept = TRAINING_PRESETS[values.preset] if is_given else run_folder.configuration(run_dir, TrainingConfig)
    config = dataclasses.replace(kept, **typed(values, kept))
    keep_compilations()
    if values.dry_run:
        print(resolved(config))
        return
    from dsrna_jax.training import run as training_run

    try:
        trained = training_run.run(config, run_dir, resume=values.resume, devices=values.devices)
    except Stopped as stopped:
        raise Stopped(stopped.number, f"{stopped}; go on by --run_dir={run_dir} --resume") from None
    print(found(trained, run_dir))


def resolved(config: TrainingConfig) -> str:
    """What a configuration amounts to; without its data, what their published shape tells."""
    from dsrna_jax.data import load as data
    from dsrna_jax.training import report as training_report
    from dsrna_jax.training.setup import check_fits, trained_network, training_task

    try:
        task = training_task(config)
    except AbsentDataError as absent:
        shape, classes = data.published_shape(config.dataset, config.image_size)
        network = trained_network(config, zoo.resolve(config.genotype), classes, *[(0.5,) * shape[-1]] * 2)
        check_fits(network, config, shape)
        described = json.dumps({"config": dataclasses.asdict(config)}, indent=2)
        return f"{described}\n{training_report.network_report(network, shape)}\nsteps and memory are not known: {absent}"
    return f"{json.dumps(task.resolved, indent=2)}\n{training_report.training_report(task)}"


def found(trained, run_dir: Path) -> str:
    """What a person wants to know when a training is over."""
    lines = ["", f"trained for {trained.epochs} epochs; accuracy on held-out images:"]
    for name, row in (("best", trained.best), ("last", trained.last)):
        if row and row.get("val_accuracy") is not None:
            robust = row["val_robust_accuracy"]
            attacked = "" if robust is None else f", {robust:.1%} under attack"
            lines.append(f"  {name} (epoch {row['epoch']}): {row['val_accuracy']:.1%} clean{attacked}")
    if trained.best is None:
        lines[-1] = f"trained for {trained.epochs} epochs; nothing was held out, so the last checkpoint is the one to use"
    return "\n".join([
        *lines, "",
        f"{run_dir} holds genotype.json, curves.png, metrics.jsonl, checkpoints (the last){' and best' if trained.best else ''}.",
        f"next: python -m experiments.attack --checkpoint={run_dir}",
    ])  # fmt: skip


