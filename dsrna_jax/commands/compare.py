"""Compare trained networks: accuracies, certified radii, sizes, search costs, beside the paper's figures.

dsrna_jax compare runs/train_digits_PC_DARTS_cifar runs/train_digits_DARTS_V2
dsrna_jax compare runs/train_* --out=runs

Each RUN is the folder of a training; the results of the commands attack and certify in it are the columns. Trainings that differ
only in their seed become one row.
"""

from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.runtime.invocation import command_line, in_users_words
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.training.shipped import path_of


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError for bad input."""
    values = no_flags()
    define(values, "out", None, "folder of the results; by default the one that the first RUN lies in")
    runs = parse(values, argv, takes_arguments=True)
    if values.help:
        print(f"{in_users_words(__doc__ or '')}\n{values.get_help()}")
        return
    if not runs:
        raise InputError(f"expected one or more RUN, folders of trainings by {command_line('train')} (--help says more)")
    from dsrna_jax.evaluation.folder import home

    runs = [path_of(run) for run in runs]
    out = Path(values.out) if values.out else home(runs[0], "").parent
    check_path(out, "out")
    from dsrna_jax.comparison.latex import latex
    from dsrna_jax.comparison.page import page
    from dsrna_jax.comparison.runs import read
    from dsrna_jax.comparison.table import comparison
    from dsrna_jax.comparison.text import comma_separated, markdown

    table = comparison([read(path) for path in dict.fromkeys(map(Path, runs))])
    contents = {"md": markdown(table), "csv": comma_separated(table), "tex": latex(table), "html": page(table)}
    out.mkdir(parents=True, exist_ok=True)
    for suffix, content in contents.items():
        write_whole(out / f"comparison.{suffix}", content)
    print(contents["md"])
    print(f"{out} holds comparison.md, .csv, .tex and .html.\nnext: open {out}/comparison.html in a browser")
