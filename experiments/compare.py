"""Puts trained networks side by side: accuracies, certified radii, size and search cost, with the paper's figures beside them.

python -m experiments.compare runs/train_digits_PC_DARTS_cifar runs/train_digits_DARTS_V2
python -m experiments.compare runs/train_* --out=runs

Each RUN is the folder of a training; what experiments.attack and experiments.certify have left in it makes the columns. Trainings
that differ only in their seed become one row.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsrna_jax.errors import InputError
from dsrna_jax.run_folder import write_whole
from experiments.command import execute
from experiments.flags import no_flags, parse


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
    from dsrna_jax import comparison_page  # imports much, which --help need not wait for
    from dsrna_jax.comparison import comparison
    from dsrna_jax.finished import read

    table = comparison([read(path) for path in dict.fromkeys(map(Path, runs))])
    text = comparison_page.markdown(table)
    pages = {"md": text, "csv": comparison_page.comma_separated(table), "html": comparison_page.page(table)}
    out.mkdir(parents=True, exist_ok=True)
    for suffix, content in pages.items():
        write_whole(out / f"comparison.{suffix}", content)
    print(
        f"{text}\n{out} holds comparison.md, comparison.csv and comparison.html.\nnext: open {out}/comparison.html in a browser"
    )


if __name__ == "__main__":
    execute(main)
