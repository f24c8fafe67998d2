"""Certify a trained network: for each image a radius within which its prediction provably stays the same.

dsrna_jax certify --checkpoint=runs/train_digits_PC_DARTS_cifar               l-infinity, by hybrid zonotopes
dsrna_jax certify --checkpoint=RUN --norm=l2 --method=crown_ibp               another norm, another method
dsrna_jax certify --checkpoint=RUN --method=verify --examples=10              exact radii, where it finds them in time
dsrna_jax certify --checkpoint=RUN --method=smoothing --norm=l2 --sigma=0.25  randomised smoothing
dsrna_jax certify --checkpoint=RUN --dry_run                 estimates the cost of each method, certifies nothing
dsrna_jax certify --checkpoint=RUN --resume                  go on with a certification that was stopped

RUN is the folder of a training (then its best checkpoint is taken), or a checkpoint in it. Results have, beside each radius, the
size of the smallest perturbation found by an attack: the true radius lies between them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import CHECKPOINT, Command, Flag, checkpoint, run_command
from dsrna_jax.commands.flags import overridden
from dsrna_jax.commands.next_steps import argument, line
from dsrna_jax.evaluation.certify.config import CertificationConfig


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    run_command(COMMAND, argv)


def _settings(values: FlagValues) -> tuple[CertificationConfig, Path]:
    from dsrna_jax.evaluation.folder import home

    config, run = overridden(CertificationConfig(), values), checkpoint(values)
    exact = "_exact" if config.arithmetic == "exact" else ""
    return config, Path(values.out) if values.out else home(run, f"certify_{config.method}_{config.norm}{exact}")


def _plan(config: CertificationConfig, values: FlagValues) -> str:
    from dsrna_jax.evaluation.certify.run import planned

    return planned(config, values.checkpoint)


def _run(config: CertificationConfig, out: Path, values: FlagValues) -> dict[str, Any]:
    from dsrna_jax.evaluation.certify.run import run

    return run(config, values.checkpoint, out, resume=values.resume, devices=values.devices)


def _report(report: dict[str, Any], out: Path, values: FlagValues) -> str:
    from dsrna_jax.evaluation.certify.report import lines

    return "\n".join([
        "", lines(report), "",
        f"{out} holds certify.json, radii.npz (every image) and certified_accuracy.png.",
        f"next: look at {out}/certified_accuracy.png; {line('compare', argument(values.checkpoint))} ...",
    ])  # fmt: skip


COMMAND = Command(
    name="certify",
    description=__doc__ or "",
    defaults=CertificationConfig(),
    own={
        "checkpoint": CHECKPOINT,
        "out": Flag("folder of the results; by default certify_METHOD_NORM in that of the training"),
    },
    dry_run="show the cost of each method, and certify nothing",
    settings=_settings,
    plan=_plan,
    run=_run,
    report=_report,
)
