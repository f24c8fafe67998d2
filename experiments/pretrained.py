"""Makes the networks of `dsrna_jax.pretrained` anew, with their model cards: dsrna_jax/training/networks/*.

    python -m experiments.pretrained --runs=runs/pretrained       from the root of a clone

A command whose results are there already is not run again. The model cards list the commands.
"""

import importlib
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import execute
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.paths import check_path

OUT = Path("dsrna_jax/training/networks")
SEARCHES = ("digits_dsrna_cb", "digits_dsrna_jacobian")
PUBLISHED = {"digits_pcdarts": "PC_DARTS_cifar"}
SIZE = ("--cells=3", "--channels=6", "--auxiliary_weight=0")
# Small budgets: AutoAttack on 128 of the 360 test images, radii on 32 of them.
ATTACK = ("--tier=standard", "--radius=0.1", "--examples=128", "--probe_examples=32")
CERTIFY = ("--method=hz_crown", "--arithmetic=exact", "--examples=32", "--batch_size=32", "--attack=none")
TRAININGS = {"": (), "_adversarial": ("--adversarial=pgd", "--radius=0.1")}


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError for bad input."""
    values = no_flags()
    define(values, "runs", "runs/pretrained", "folder of the runs")
    define(values, "networks", networks(), "names of networks")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    check_path(values.runs, "runs")
    if strange := sorted(set(values.networks) - set(networks())):
        raise InputError(f"networks={','.join(strange)}: expected some of {', '.join(networks())}")
    for network in values.networks:
        steps = commands(network, values.runs)
        for result, command in steps.items():
            if not Path(result).exists():
                print(f"dsrna_jax {shlex.join(command)}", flush=True)
                importlib.import_module(f"dsrna_jax.commands.{command[0]}").main(command)
        write_measures(OUT / f"{network}.md", f"{values.runs}/{network}")
        add_commands(OUT / f"{network}.md", steps.values())


def networks() -> list[str]:
    """The names of the networks: each cell after each kind of training."""
    return [cell + training for cell in (*SEARCHES, *PUBLISHED) for training in TRAININGS]


def commands(network: str, runs: str) -> dict[str, list[str]]:
    """The command lines that lead to a network, in order, each under a file that it leaves."""
    cell = network.removesuffix("_adversarial")
    searched, trained, file = f"{runs}/search_{cell}", f"{runs}/{network}", OUT / f"{network}.safetensors"
    search = {f"{searched}/cells.png": ["search", f"--preset={cell}", f"--run_dir={searched}"]} if cell in SEARCHES else {}
    genotype = f"--genotype={PUBLISHED.get(cell, searched)}"
    return search | {
        f"{trained}/result.json": ["train", genotype, *SIZE, *TRAININGS[network.removeprefix(cell)], f"--run_dir={trained}"],
        str(file): ["export", f"--checkpoint={trained}", "--to=safetensors", f"--out={file}", "--licence=apache-2.0"],
        f"{trained}/attack/attack.json": ["attack", f"--checkpoint={file}", *ATTACK, f"--out={trained}/attack"],
        f"{trained}/certify/certify.json": ["certify", f"--checkpoint={file}", *CERTIFY, f"--out={trained}/certify"],
    }


def write_measures(card: Path, trained: str) -> None:
    """Writes what the attack and the certificates of the folder of a training say to the sections of a model card."""
    from dsrna_jax.comparison.card import attacked, certified

    text = card.read_text(encoding="utf-8")
    for heading, command, lines in (("Under attack", "attack", attacked), ("Certificates", "certify", certified)):
        result = json.loads(Path(trained, command, f"{command}.json").read_text(encoding="utf-8"))
        before, rest = text.split(f"## {heading}\n")
        section = "\n".join(lines([result]))
        text = f"{before}## {heading}\n\n{section}\n\n## {rest.partition('## ')[2]}"
    write_whole(card, text)


def add_commands(card: Path, lines: Iterable[Sequence[str]]) -> None:
    """Lists the command lines at the end of a model card."""
    heading, shown = "\n## Made by\n", "\n".join(f"dsrna_jax {shlex.join(line)}" for line in lines)
    text = card.read_text(encoding="utf-8").partition(heading)[0]
    write_whole(card, f"{text}{heading}\n```sh\n{shown}\n```\n")


if __name__ == "__main__":
    execute(main)
