"""Measures the project on the GPU of this machine: the card, tests, steps, searches; one JSON line for each figure.

    make gpu                                     everything, about an hour
    make gpu ARGS="--parts=see,steps"            some parts of see, tests, steps, search
    make gpu ARGS="--only=search_step_jacobian"  one figure
    make gpu ARGS="--tiny"                       at sizes for a CPU

A line has the numbers of a figure, or the `error` by which it failed (exit status 1), with JAX's version, the card and the date.
"""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import disable_loop_unrolling, execute
from dsrna_jax.errors import InputError, shown
from experiments.gpu.apart import row_of


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong, or a figure fails."""
    values = no_flags()
    define(values, "parts", [], "parts that are measured: see, tests, steps, search; by default all")
    define(values, "only", [], "names of the figures that are measured")
    define(values, "tiny", False, "small networks and images, for a CPU")
    define(values, "limit", 1800.0, "seconds that a figure may take", "(0, 1e6]")
    define(values, "out", "", "file to which lines are added")
    define(values, "here", False, "in this process, which an abort of the compiler ends")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    disable_loop_unrolling()
    from experiments.gpu.figures import FIGURES, PARTS  # imports much, which --help need not wait for

    parts, only = values.parts or list(PARTS), values.only or []
    for flag, given, known in (("parts", parts, PARTS), ("only", only, FIGURES)):
        if unknown := [name for name in given if name not in known]:
            raise InputError(f"{flag}={shown(unknown[0])}: expected one of {', '.join(known)}")
    if values.out and not values.here:
        Path(values.out).parent.mkdir(parents=True, exist_ok=True)
        Path(values.out).touch()  # fails here, and not after the first measurement
    failed = []
    for name in only or [n for n, figure in FIGURES.items() if figure.part in parts]:
        row = _row(name, values.tiny) if values.here else row_of("experiments.gpu.measure", name, argv[1:], limit=values.limit)
        failed += [name] if "error" in row or row.get("failed") else []
        line = json.dumps(row)
        print(line, flush=True)
        if values.out and not values.here:
            with open(values.out, "a", encoding="utf-8") as file:
                file.write(line + "\n")
    if failed:
        raise InputError(f"{', '.join(failed)} failed here: the lines above say how")


def _row(name: str, is_tiny: bool) -> dict[str, Any]:
    """The row of a figure, measured in this process, with where and when."""
    import jax

    from experiments.gpu.figures import FIGURES, measured

    size = "tiny" if is_tiny else "full"
    row = {"part": FIGURES[name].part, "name": name, "scale": size} | measured(name, size)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return row | {"jax": jax.__version__, "card": jax.devices()[0].device_kind, "date": today}


if __name__ == "__main__":
    execute(main)
