"""Makes the networks of `dsrna_jax.pretrained` anew, with their model cards: dsrna_jax/training/networks/*.

    python -m experiments.pretrained --runs=runs/pretrained       from the root of a clone

A command whose results are there already is not run again. The model cards list the commands.
"""

import importlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags

from dsrna_jax.commands.flags import no_flags, parse
from dsrna_jax.commands.process import execute
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.training import pretrained

OUT = pretrained.FOLDER.relative_to(Path(__file__).parents[1])
SEARCHES = ("digits_dsrna_cb", "digits_dsrna_jacobian")
PUBLISHED = {"digits_pcdarts": "PC_DARTS_cifar"}
SIZE = ("--cells=3", "--channels=6", "--auxiliary_weight=0")
TRAININGS = {"": (), "_adversarial": ("--adversarial=pgd", "--radius=0.1")}


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError for bad input."""
    values = no_flags()
    flags.DEFINE_string("runs", "runs/pretrained", "folder of the runs", flag_values=values, module_name="command")
    flags.DEFINE_list("networks", networks(), "names of networks", flag_values=values, module_name="command")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if strange := sorted(set(values.networks) - set(networks())):
        raise InputError(f"networks={','.join(strange)}: expected some of {', '.join(networks())}")
    for network in values.networks:
        steps = commands(network, values.runs)
        for result, command in steps.items():
            if not Path(result).exists():
                print(f"dsrna_jax {shlex.join(command)}", flush=True)
                importlib.import_module(f"dsrna_jax.commands.{command[0]}").main(command)
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
    }


def add_commands(card: Path, lines: Iterable[Sequence[str]]) -> None:
    """Lists the command lines at the end of a model card, unless they are there."""
    text, heading = card.read_text(encoding="utf-8"), "## Made by"
    if heading not in text:
        shown = "\n".join(f"dsrna_jax {shlex.join(line)}" for line in lines)
        write_whole(card, f"{text}\n{heading}\n\n```sh\n{shown}\n```\n")


if __name__ == "__main__":
    execute(main)
