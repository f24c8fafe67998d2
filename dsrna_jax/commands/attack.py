"""Attacks a trained network and leaves its accuracy under every attack, sanity checks and pictures beside it.

python -m experiments.attack --checkpoint=runs/train_digits_PC_DARTS_cifar --tier=smoke      does it run here?
python -m experiments.attack --checkpoint=RUN                    FGSM, PGD, C&W, DDN and AutoAttack within 8/255 (linf)
python -m experiments.attack --checkpoint=RUN --norm=l2          the same within 0.5 (l2)
python -m experiments.attack --checkpoint=RUN --tier=standard --examples=0    AutoAttack on the whole test set
python -m experiments.attack --checkpoint=RUN --dry_run          which attacks, with which budgets; attacks nothing
python -m experiments.attack --checkpoint=RUN --resume           goes on where an evaluation stopped

RUN is the folder of a training (then its best checkpoint is taken), or a checkpoint in it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from dsrna_jax.commands.flags import config_flags, parse, typed
from dsrna_jax.commands.process import keep_compilations
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.config import TIERS
from dsrna_jax.runtime.signals import Stopped


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = config_flags(TIERS["paper"])
    own = {"flag_values": values, "module_name": "command"}
    flags.DEFINE_string("checkpoint", None, "folder of a training, or of a checkpoint", **own)
    flags.DEFINE_string("out", None, "folder of the results; by default attack_TIER_NORM in that of the training", **own)
    flags.DEFINE_boolean("resume", False, "go on with the evaluation in out", **own)
    flags.DEFINE_boolean("dry_run", False, "show attacks and budgets, and attack nothing", **own)
    flags.DEFINE_integer("devices", 0, "devices that share a batch; 0 for all", **own)
    parse(values, argv, TIERS["paper"])
    if values.help:
        print(f"{__doc__}\nDefaults are those of the tier paper.\n{values.get_help()}")
        return
    if not values.checkpoint:
        raise InputError("expected --checkpoint=RUN, the folder of a training by python -m experiments.train (--help says more)")
    config = dataclasses.replace(TIERS[values.tier], **typed(values, TIERS[values.tier]))
    keep_compilations()
    from dsrna_jax.evaluation.attack import run as attack_run
    from dsrna_jax.evaluation.folder import home

    if values.dry_run:
        print(attack_run.planned(config, values.checkpoint))
        return
    out = Path(values.out) if values.out else home(values.checkpoint, f"attack_{config.tier}_{config.norm}")
    try:
        report = attack_run.run(config, values.checkpoint, out, resume=values.resume, devices=values.devices)
    except Stopped as stopped:
        raise Stopped(stopped.number, f"{stopped} in {out}; go on by the same command with --resume") from None
    print(found(report, values.checkpoint, out))


def found(report: dict[str, Any], run: str, out: Path) -> str:
    """What a person wants to know when an evaluation is over."""
    from dsrna_jax.evaluation.attack.report import table

    return "\n".join([
        "", table(report), "",
        f"{out} holds attack.json, flags.npz (every image under every attack), accuracy_against_radius.png, attacked_images.png.",
        f"next: python -m experiments.certify --checkpoint={run}; python -m experiments.compare {run} ...",
    ])  # fmt: skip


