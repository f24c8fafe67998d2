"""Attack a trained network: accuracy under every attack, sanity checks, pictures.

dsrna_jax attack --checkpoint=runs/train_digits_PC_DARTS_cifar --tier=smoke      a quick look
dsrna_jax attack --checkpoint=RUN                    FGSM, PGD, C&W, DDN and AutoAttack within 8/255 (linf)
dsrna_jax attack --checkpoint=RUN --norm=l2          the same within 0.5 (l2)
dsrna_jax attack --checkpoint=RUN --tier=standard --examples=0    AutoAttack on the whole test set
dsrna_jax attack --checkpoint=RUN --dry_run          lists attacks and budgets, attacks nothing
dsrna_jax attack --checkpoint=RUN --resume           go on with an evaluation that was stopped

RUN is the folder of a training (then its best checkpoint is taken), or a checkpoint in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import run_command
from dsrna_jax.commands.evaluating import evaluation_command
from dsrna_jax.commands.next_steps import argument, line
from dsrna_jax.evaluation.attack.config import TIERS

DEFAULT = "paper"


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    run_command(COMMAND, argv)


def _report(report: dict[str, Any], out: Path, values: FlagValues) -> str:
    from dsrna_jax.evaluation.attack.report import table

    run = values.checkpoint
    return "\n".join([
        "", table(report), "",
        f"{out} holds attack.json, flags.npz (every image under every attack), accuracy_against_radius.png, attacked_images.png.",
        f"next: {line('certify', f'--checkpoint={run}')}; {line('compare', argument(run))} ...",
    ])  # fmt: skip


COMMAND = evaluation_command(
    "attack",
    f"{__doc__}\nDefaults are those of the tier {DEFAULT}.",
    defaults=TIERS[DEFAULT],
    base=lambda values: TIERS[values.tier],
    folder=lambda config: f"attack_{config.tier}_{config.norm}",
    out="folder of the results; by default attack_TIER_NORM in that of the training",
    dry_run="show attacks and budgets, and attack nothing",
    report=_report,
)
