"""Certifies a trained network: how far each image may change, in a norm, while the network still says the same.

python -m experiments.certify --checkpoint=runs/train_digits_PC_DARTS_cifar               l-infinity, by hybrid zonotopes
python -m experiments.certify --checkpoint=RUN --norm=l2 --method=crown_ibp               another norm, another method
python -m experiments.certify --checkpoint=RUN --method=smoothing --norm=l2 --sigma=0.25  randomised smoothing
python -m experiments.certify --checkpoint=RUN --dry_run                 what each method would cost; certifies nothing
python -m experiments.certify --checkpoint=RUN --resume                  goes on where a certification stopped

RUN is the folder of a training (then its best checkpoint is taken), or a checkpoint in it. Beside each radius stands the size of
the smallest perturbation that an attack found: the true radius lies between.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from dsrna_jax.commands.flags import config_flags, parse, typed
from dsrna_jax.commands.process import keep_compilations
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify.config import CertificationConfig
from dsrna_jax.runtime.signals import Stopped


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = config_flags(CertificationConfig())
    own = {"flag_values": values, "module_name": "command"}
    flags.DEFINE_string("checkpoint", None, "folder of a training, or of a checkpoint", **own)
    flags.DEFINE_string("out", None, "folder of the results; by default certify_METHOD_NORM in that of the training", **own)
    flags.DEFINE_boolean("resume", False, "go on with the certification in out", **own)
    flags.DEFINE_boolean("dry_run", False, "show what the methods would cost, and certify nothing", **own)
    flags.DEFINE_integer("devices", 0, "devices that share a batch; 0 for all", **own)
    parse(values, argv, CertificationConfig())
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if not values.checkpoint:
        raise InputError("expected --checkpoint=RUN, the folder of a training by python -m experiments.train (--help says more)")
    config = CertificationConfig()
    config = dataclasses.replace(config, **typed(values, config))
    keep_compilations()
    from dsrna_jax.evaluation.certify import run as certification_run
    from dsrna_jax.evaluation.folder import home

    if values.dry_run:
        print(certification_run.planned(config, values.checkpoint))
        return
    out = Path(values.out) if values.out else home(values.checkpoint, f"certify_{config.method}_{config.norm}")
    try:
        report = certification_run.run(config, values.checkpoint, out, resume=values.resume, devices=values.devices)
    except Stopped as stopped:
        raise Stopped(stopped.number, f"{stopped} in {out}; go on by the same command with --resume") from None
    print(found(report, values.checkpoint, out))


def found(report: dict[str, Any], run: str, out: Path) -> str:
    """What a person wants to know when a certification is over."""
    from dsrna_jax.evaluation.certify.report import lines

    return "\n".join([
        "", lines(report), "",
        f"{out} holds certify.json, radii.npz (every image) and certified_accuracy.png.",
        f"next: look at {out}/certified_accuracy.png; python -m experiments.compare {run} ...",
    ])  # fmt: skip


