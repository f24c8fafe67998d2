"""Search for a robust cell.

dsrna_jax search                                   DSRNA-Jacobian on the embedded handwritten digits
dsrna_jax search --preset=smoke                    the smallest search, as a first look
dsrna_jax search --preset=mnist_dsrna_jacobian --data_dir=PATH            the paper's settings
dsrna_jax search --dataset=folder:PATH --image_size=32     your images, one folder a class
dsrna_jax search --run_dir=runs/smoke --resume     go on with a run that was stopped
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl.flags import FlagValues

from dsrna_jax.commands.command import LOG, Command, Flag, run_command
from dsrna_jax.commands.flags import overridden
from dsrna_jax.commands.next_steps import flags_of, line
from dsrna_jax.commands.planning import MEASURE, PlannedPart, check_measure, planned
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import disable_loop_unrolling
from dsrna_jax.runtime.log_writers import log_names
from dsrna_jax.search.config import SearchConfig

if TYPE_CHECKING:
    from dsrna_jax.genotypes import Architecture
    from dsrna_jax.genotypes.architecture import Searched
    from dsrna_jax.series.members import Member

DEFAULT = "digits_dsrna_jacobian"


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    run_command(COMMAND, argv)


def _settings(values: FlagValues) -> tuple[SearchConfig, Path]:
    from dsrna_jax.runtime.run_folder import configuration

    log_names(values.log)
    check_measure(values)
    run_dir = Path(values.run_dir or f"runs/{values.preset}")
    is_preset = values["preset"].present or not values.resume
    return overridden(PRESETS[values.preset] if is_preset else configuration(run_dir, SearchConfig), values), run_dir


def _plan(config: SearchConfig, values: FlagValues) -> str:
    """The resolved configuration, steps and memory; by the published size of the data set if that is absent."""
    disable_loop_unrolling()
    from dsrna_jax.commands.train import training_part
    from dsrna_jax.networks import network
    from dsrna_jax.search.kinds import kind_of
    from dsrna_jax.series.members import foreseen
    from dsrna_jax.training.config import TrainingConfig

    def part(member: "Member") -> PlannedPart:
        own, shares = member.config, (config.train_share, config.val_share)
        if isinstance(own, TrainingConfig):
            return training_part(own, values, member.genotype, shares)._replace(heading=member.heading)
        kind = kind_of(own)

        def without_data(shape: tuple[int, int, int], classes: int) -> str:
            supernet = kind.network(own, shape, classes, *[(0.5,) * shape[-1]] * 2)
            return f"weights: {network.weight_count(supernet, shape):,}"

        times = (lambda setup: kind.times(setup, values.devices)) if values.measure else None
        return PlannedPart(lambda published: kind.setup(own, published), kind.report, without_data, times, member.heading)

    return planned(config, [part(member) for member in foreseen(config)])


def _run(config: SearchConfig, run_dir: Path, values: FlagValues) -> "Architecture":
    disable_loop_unrolling()
    from dsrna_jax.series.run import run

    return run(config, run_dir, resume=values.resume, devices=values.devices, log=log_names(values.log))


def _report(genotype: "Architecture", run_dir: Path, values: FlagValues) -> str:
    from dsrna_jax.genotypes import RobNet
    from dsrna_jax.genotypes.genotype import called
    from dsrna_jax.runtime.run_folder import configuration
    from dsrna_jax.search.folder import training_command

    config = configuration(run_dir, SearchConfig)
    another = dataclasses.replace(config, seed=config.seed + 1)
    lines = ["", "found:"]
    for group, genes in [] if isinstance(genotype, RobNet) else [(group, genotype.genes(group)) for group in genotype.groups]:
        names = [name for name, _, _ in genes]
        counts = sorted({name: names.count(name) for name in names}.items(), key=lambda item: -item[1])
        lines.append(f"  {called(group)}: {', '.join(f'{count} {name}' for name, count in counts)}")
    if not isinstance(genotype, RobNet) and (note := _collapse(genotype, run_dir)):
        lines += ["", f"WARN: {note}"]
    if (run_dir / "alphas.png").is_file() and config.warmup_epochs >= config.epochs:
        still = f"warmup_epochs={config.warmup_epochs} of epochs={config.epochs}"
        lines += ["", f"WARN: the alphas never moved ({still}): these cells are those of their random start"]
    written = ("genotype.json", "cells.png", "alphas.png", "rewards.png", "front.png", "curves.png")
    held = [name for name in written if (run_dir / name).is_file()]
    picture = next((name for name in ("cells.png", "rewards.png") if name in held), "cells.png")
    rest = "a folder for each search" if config.is_series else "checkpoints"
    return "\n".join([
        *lines, "", str(genotype), "",
        f"{run_dir} holds {', '.join(held)}, metrics.jsonl and {rest}.",
        f"next: look at {run_dir}/{picture}; train the network of these cells; see whether another seed finds the like:",
        f"  {training_command(run_dir)}",
        f"  {line('search', *flags_of(another, PRESETS, DEFAULT), f'--run_dir={_beside(run_dir, another.seed)}')}",
    ])  # fmt: skip


def _collapse(genotype: "Searched", run_dir: Path) -> str | None:
    from dsrna_jax.runtime.records import rows
    from dsrna_jax.search.collapse import collapse_note

    metrics = run_dir / "metrics.jsonl"
    return collapse_note(genotype, rows(metrics) if metrics.is_file() else [])


def _beside(run_dir: Path, seed: int) -> Path:
    """A folder beside that of a run, for the same run by another seed."""
    return run_dir.with_name(f"{re.sub('_seed[0-9]+$', '', run_dir.name)}_seed{seed}")


COMMAND = Command(
    name="search",
    description=f"{__doc__}\nDefaults are those of the preset {DEFAULT}.",
    defaults=PRESETS[DEFAULT],
    own={
        "preset": Flag("configuration that flags override", DEFAULT, tuple(PRESETS)),
        "run_dir": Flag("folder of the run; by default runs/PRESET"),
        "log": LOG,
        "measure": MEASURE,
    },
    dry_run="show configuration, weights and memory, and train nothing",
    settings=_settings,
    plan=_plan,
    run=_run,
    report=_report,
)
