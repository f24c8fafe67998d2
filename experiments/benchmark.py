"""Times a search step, or bounds of a derived network, and prints one JSON line for each configuration.

    python -m experiments.benchmark --what=search_step --space=pcdarts --metric=jacobian --order=first --batch_size=16
    python -m experiments.benchmark --all --cells=3           every space, metric and order; minutes of compiling each
    python -m experiments.benchmark --what=bounds --genotype=PC_DARTS_cifar --methods=ibp,crown_ibp --batch_size=32

Compiles cold, since the compilation cache is not used. Numbers and what led to them: experiments/benchmarks.md.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence

from absl import flags

from dsrna_jax.config import SearchConfig
from dsrna_jax.errors import InputError
from experiments.command import execute
from experiments.flags import config_flags, parse, typed

DEFAULT = SearchConfig(cells=8, channels=16, batch_size=16, order="first", metric="jacobian", norm="l1")


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = config_flags(DEFAULT)
    own = {"flag_values": values, "module_name": "command"}
    flags.DEFINE_enum("what", "search_step", ["search_step", "bounds"], "what to time", **own)
    flags.DEFINE_boolean("all", False, "every combination of space, metric and order", **own)
    flags.DEFINE_integer("size", 32, "side of the images in pixels", **own)
    flags.DEFINE_string("genotype", "PC_DARTS_cifar", "cells whose bounds are timed: as --genotype of experiments.train", **own)
    flags.DEFINE_list("methods", ["ibp", "crown_ibp"], "methods of bounds that are timed", **own)
    flags.DEFINE_integer("repeats", 5, "runs of each part, of which the median is printed", **own)
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if values.size < 4 or values.repeats < 1:
        raise InputError(f"size={values.size}, repeats={values.repeats}: expected at least 4 and 1")
    from dsrna_jax.timing import bounds_cost, search_step_cost  # imports much, which --help need not wait for

    config = dataclasses.replace(DEFAULT, **typed(values, DEFAULT))
    if values.what == "bounds":
        for method in values.methods:
            cost = bounds_cost(config, values.size, values.genotype, method, repeats=values.repeats)
            print(json.dumps(cost), flush=True)
        return
    axes = {f.name: f.metadata["choices"] for f in dataclasses.fields(config) if f.name in ("space", "metric", "order")}
    for point in itertools.product(*axes.values()) if values.all else [()]:
        chosen = dataclasses.replace(config, **dict(zip(axes, point, strict=False)))
        print(json.dumps(search_step_cost(chosen, values.size, repeats=values.repeats)), flush=True)


if __name__ == "__main__":
    execute(main)
