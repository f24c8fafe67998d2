"""Puts trained networks side by side: accuracies, certified radii, size and search cost, with the paper's figures beside them.

python -m experiments.compare runs/train_digits_PC_DARTS_cifar runs/train_digits_DARTS_V2
python -m experiments.compare runs/train_* --out=runs

Each RUN is the folder of a training; what experiments.attack and experiments.certify have left in it makes the columns. Trainings
that differ only in their seed become one row.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsrna_jax.commands.flags import no_flags, parse
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.files import write_whole


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = no_flags()
    flags.DEFINE_string("out", None, "folder of the results; by default the one that the first RUN lies in", flag_values=values)
    runs = parse(values, argv, takes_arguments=True)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if not runs:
        raise InputError("expected one or more RUN, folders of trainings by python -m experiments.train (--help says more)")
    out = Path(values.out or Path(runs[0]).parent)
    if out.exists() and not out.is_dir():
        raise InputError(f"out {out} is a file: expected a folder, or a path where one can be made")
    from dsrna_jax.comparison import page
    from dsrna_jax.comparison.runs import read
    from dsrna_jax.comparison.table import comparison

    table = comparison([read(path) for path in dict.fromkeys(map(Path, runs))])
    text = page.markdown(table)
    pages = {"md": text, "csv": page.comma_separated(table), "html": page.page(table)}
    out.mkdir(parents=True, exist_ok=True)
    for suffix, content in pages.items():
        write_whole(out / f"comparison.{suffix}", content)
    print(
        f"{text}\n{out} holds comparison.md, comparison.csv and comparison.html.\nnext: open {out}/comparison.html in a browser"
    )


