"""Train the network that a genotype describes, from scratch.

dsrna_jax train --genotype=runs/digits_dsrna_jacobian          the cell that a search found, on handwritten digits
dsrna_jax train --genotype=PC_DARTS_cifar --adversarial=pgd    a published cell, against PGD
dsrna_jax train --genotype=list                                the published cells
dsrna_jax train --preset=cifar10 --genotype=DARTS_V2 --data_dir=PATH --dry_run      weights, operations, memory
dsrna_jax train --run_dir=runs/... --resume                    go on with a run that was stopped
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import LOG, Command, Flag, run_command
from dsrna_jax.commands.flags import overridden
from dsrna_jax.commands.next_steps import line
from dsrna_jax.commands.planning import MEASURE, PlannedPart, check_measure, planned
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.runtime.log_writers import log_names
from dsrna_jax.training.config import TrainingConfig

if TYPE_CHECKING:
    from dsrna_jax.genotypes import Architecture
    from dsrna_jax.training.run import Trained

DEFAULT = "digits"


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    run_command(COMMAND, argv)


def _answer(values: FlagValues) -> str | None:
    if values.genotype != "list":
        return None
    from dsrna_jax.genotypes import zoo

    return zoo.listing()


def _settings(values: FlagValues) -> tuple[TrainingConfig, Path]:
    from dsrna_jax.runtime.run_folder import configuration

    log_names(values.log)
    check_measure(values)
    run_dir = Path(values.run_dir or f"runs/train_{values.preset}_{_name(values.genotype)}")
    is_preset = values["preset"].present or not values.resume
    kept = TRAINING_PRESETS[values.preset] if is_preset else configuration(run_dir, TrainingConfig)
    return overridden(kept, values), run_dir


def _name(genotype: str) -> str:
    """The name of a genotype in that of the run folder; of a text, one that follows from it."""
    if "(" in genotype:
        return f"genotype_{hashlib.sha256(genotype.encode()).hexdigest()[:8]}"
    return Path(genotype).name.removesuffix(".json").replace(":", "_")


def _plan(config: TrainingConfig, values: FlagValues) -> str:
    """The resolved configuration, steps and memory; by the published size of the data set if that is absent."""
    return planned(config, [training_part(config, values)])


def training_part(
    config: TrainingConfig,
    values: FlagValues,
    architecture: "Architecture | None" = None,
    shares: tuple[float, float] | None = None,
) -> PlannedPart:
    """The plan of a training; arguments as those of `training_setup`."""
    from dsrna_jax.genotypes import zoo
    from dsrna_jax.training import report as training_report
    from dsrna_jax.training.setup import check_fits, trained_network, training_setup

    def without_data(shape: tuple[int, int, int], classes: int) -> str:
        chosen = zoo.resolve(config.genotype) if architecture is None else architecture
        network = trained_network(config, chosen, classes, *[(0.5,) * shape[-1]] * 2)
        check_fits(network, config, shape)
        return training_report.network_report(network, shape)

    def setup(published: Any) -> Any:
        return training_setup(config, architecture, published, shares)

    times = (lambda setup: training_report.times(setup, values.devices)) if values.measure else None
    return PlannedPart(setup, training_report.training_report, without_data, times)


def _run(config: TrainingConfig, run_dir: Path, values: FlagValues) -> "Trained":
    from dsrna_jax.training.run import run

    return run(config, run_dir, resume=values.resume, devices=values.devices, log=log_names(values.log))


def _report(trained: "Trained", run_dir: Path, values: FlagValues) -> str:
    from dsrna_jax.evaluation.attack.budgets import pixels

    config = trained.config
    attack = f"PGD-{config.val_attack_steps} ({config.norm} {pixels(config.radius, config.norm)})"
    lines = ["", f"trained for {trained.epochs} epochs; accuracy on {trained.held_out} held-out images:"]
    for name, row in (("best", trained.best), ("last", trained.last)):
        if row and row.get("val_accuracy") is not None:
            robust = row["val_robust_accuracy"]
            attacked = "" if robust is None else f", {robust:.1%} under {attack}"
            lines.append(f"  {name} (epoch {row['epoch']}): {row['val_accuracy']:.1%} clean{attacked}")
    if trained.best is None:
        lines[-1] = f"trained for {trained.epochs} epochs; nothing was held out, so the last checkpoint is the one to use"
    test, chosen = trained.result["test"], trained.result["checkpoint"]["chosen"]
    if test:
        lines.append(f"accuracy of the {chosen} weights on all {test['images']} {test['split']} images: {test['accuracy']:.2%} "
                     f"(95 %: {test['low']:.1%} to {test['high']:.1%})")  # fmt: skip
    else:
        lines.append(f"no accuracy on test images: {trained.result['why']}")
    return "\n".join([
        *lines, "",
        f"{run_dir} holds result.json, genotype.json, curves.png, metrics.jsonl, checkpoints (the last)"
        f"{' and best' if trained.best else ''}.",
        f"next: {line('attack', f'--checkpoint={run_dir}')}",
    ])  # fmt: skip


COMMAND = Command(
    name="train",
    description=f"{__doc__}\nDefaults are those of the preset {DEFAULT}.",
    defaults=TRAINING_PRESETS[DEFAULT],
    own={
        "preset": Flag("configuration that flags override", DEFAULT, tuple(TRAINING_PRESETS)),
        "run_dir": Flag("folder of the run; by default runs/train_PRESET_GENOTYPE"),
        "log": LOG,
        "measure": MEASURE,
    },
    dry_run="show configuration, weights, operations and memory, and train nothing",
    answer=_answer,
    settings=_settings,
    plan=_plan,
    run=_run,
    report=_report,
)
