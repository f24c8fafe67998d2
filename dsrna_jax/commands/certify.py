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

from dsrna_jax.commands.command import run_command
from dsrna_jax.commands.evaluating import evaluation_command
from dsrna_jax.commands.next_steps import argument, line
from dsrna_jax.commands.process import use_many_heaps
from dsrna_jax.evaluation.certify.config import CertificationConfig


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    use_many_heaps()
    run_command(COMMAND, argv)


def _report(report: dict[str, Any], out: Path, values: FlagValues) -> str:
    from dsrna_jax.evaluation.certify.report import lines

    return "\n".join([
        "", lines(report), "",
        f"{out} holds certify.json, radii.npz (every image) and certified_accuracy.png.",
        f"next: look at {out}/certified_accuracy.png; {line('compare', argument(values.checkpoint))} ...",
    ])  # fmt: skip


def _folder(config: CertificationConfig) -> str:
    return f"certify_{config.method}_{config.norm}{'_exact' if config.arithmetic == 'exact' else ''}"


COMMAND = evaluation_command(
    "certify",
    __doc__ or "",
    defaults=CertificationConfig(),
    base=lambda values: CertificationConfig(),
    folder=_folder,
    out="folder of the results; by default certify_METHOD_NORM in that of the training",
    dry_run="show the cost of each method, and certify nothing",
    report=_report,
)
