"""Times a search step, or bounds, an attack or a training step of a derived network, or kernels; one JSON line for each.

    python -m experiments.benchmark --what=search_step --space=pcdarts --metric=jacobian --order=first --batch_size=16
    python -m experiments.benchmark --all --cells=3           every space, metric and order; minutes of compiling each
    python -m experiments.benchmark --what=bounds --genotype=PC_DARTS_cifar --methods=ibp,crown_ibp --batch_size=32
    python -m experiments.benchmark --what=bounds --batch_size=32 --methods=crown_ibp,alpha_crown --given=ibp --repeats=1
    python -m experiments.benchmark --what=attack --cells=20 --channels=16 --batch_size=64            PGD-100
    python -m experiments.benchmark --what=training_step --cells=20 --channels=36 --batch_size=16
    python -m experiments.benchmark --what=sub_network --space=darts --batch_size=64 --size=8    beside the supernet
    python -m experiments.benchmark --what=latency --preset=digits_proxyless --table=latency.json     for --latency_table
    python -m experiments.benchmark --what=kernels --repeats=30       beside what XLA has for the same

Compiles cold, since the compilation cache is not used. Results: experiments/benchmarks/results.md.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from dsrna_jax.commands.flags import config_flags, define, parse, typed
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import disable_loop_unrolling, execute, use_many_heaps
from dsrna_jax.runtime.options import changed
from dsrna_jax.runtime.paths import check_file
from dsrna_jax.search.config import SearchConfig

DEFAULT = SearchConfig(
    space="darts", cells=8, channels=16, batch_size=16, order="first", metric="jacobian", jacobian_norm="row_l1"
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = config_flags(DEFAULT)
    parts = ["search_step", "bounds", "attack", "training_step", "kernels", "sub_network", "latency"]
    define(values, "what", "search_step", "what to time", parts)
    define(values, "all", False, "every combination of space, metric and order")
    define(values, "size", 32, "side of the images in pixels", "[4, 4096]")
    define(values, "genotype", "PC_DARTS_cifar", "cells of the derived network: as --genotype of experiments.train")
    define(values, "methods", ["ibp", "crown_ibp"], "methods of bounds that are timed")
    define(values, "given", None, "method of the intermediate bounds that those methods are given, in place of their own")
    define(values, "steps_of_attack", 100, "steps of PGD", "[1, 1e6]")
    define(values, "repeats", 5, "runs of each part, of which the median is printed (of kernels the least)", "[1, 1e6]")
    define(values, "preset", None, "search whose settings flags override, in place of the defaults", list(PRESETS))
    define(values, "table", "latency.json", "file of the latencies, for --latency_table of a search")
    parse(values, argv, DEFAULT)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    if values.what == "bounds":
        use_many_heaps()  # as certify does
    config = changed(PRESETS[values.preset] if values.preset else DEFAULT, **typed(values, DEFAULT))
    for row in _rows(config, values):
        print(json.dumps(row), flush=True)


def _rows(config: SearchConfig, values: flags.FlagValues) -> Iterator[dict[str, Any]]:
    from experiments.benchmarks import kernels, latency, sub_networks, timing  # imports much, which --help need not wait for

    size, repeats = values.size, values.repeats
    match values.what:
        case "bounds":
            for method in values.methods:
                yield timing.bounds_cost(config, size, values.genotype, method, repeats=repeats, given=values.given)
        case "kernels":
            yield from kernels.kernel_costs(repeats)
        case "sub_network":
            yield from sub_networks.sub_network_costs(config, size, repeats)
        case "latency":
            check_file(values.table, "table")
            yield from latency.latency_rows(config, values.table, repeats)
        case "attack":
            yield timing.attack_cost(config, size, values.genotype, values.steps_of_attack, repeats=repeats)
        case "training_step":
            yield timing.training_step_cost(config, size, values.genotype, repeats=repeats)
        case "search_step":
            disable_loop_unrolling()
            axes = {f.name: f.metadata["choices"] for f in dataclasses.fields(config) if f.name in ("space", "metric", "order")}
            for point in itertools.product(*axes.values()) if values.all else [()]:
                chosen = dataclasses.replace(config, **dict(zip(axes, point, strict=False)))
                yield timing.search_step_cost(chosen, size, repeats=repeats)


if __name__ == "__main__":
    execute(main)
