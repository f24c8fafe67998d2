"""Searches for a robust cell and leaves all it finds in a run folder.

python -m experiments.search                                   DSRNA-Jacobian on the embedded handwritten digits
python -m experiments.search --preset=smoke                    the same in a minute, to see what it does
python -m experiments.search --preset=mnist_dsrna_jacobian --data_dir=PATH            the paper's settings
python -m experiments.search --dataset=folder:PATH --image_size=32     your images, one folder a class
python -m experiments.search --run_dir=runs/smoke --resume     goes on where a run stopped
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dsrna_jax.commands.flags import config_flags, parse, typed
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import keep_compilations, keep_loops
from dsrna_jax.errors import AbsentDataError
from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype
from dsrna_jax.runtime import run_folder
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search.config import SearchConfig


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = config_flags(PRESETS["digits_dsrna_jacobian"])
    own = {"flag_values": values, "module_name": "command"}
    flags.DEFINE_enum("preset", "digits_dsrna_jacobian", list(PRESETS), "configuration that flags override", **own)
    flags.DEFINE_string("run_dir", None, "folder of the run; by default runs/PRESET", **own)
    flags.DEFINE_boolean("resume", False, "go on with the run in run_dir, with its own configuration", **own)
    flags.DEFINE_boolean("dry_run", False, "show configuration, weights and memory, and train nothing", **own)
    flags.DEFINE_integer("devices", 0, "devices that share a batch; 0 for all", **own)
    parse(values, argv, PRESETS["digits_dsrna_jacobian"])
    if values.help:
        print(f"{__doc__}\nDefaults are those of the preset digits_dsrna_jacobian.\n{values.get_help()}")
        return
    run_dir = Path(values.run_dir or f"runs/{values.preset}")
    is_given = values["preset"].present or not values.resume
    config = PRESETS[values.preset] if is_given else run_folder.configuration(run_dir, SearchConfig)
    config = dataclasses.replace(config, **typed(values, config))
    keep_compilations()
    keep_loops()
    if values.dry_run:
        print(resolved(config))
    else:
        from dsrna_jax.search import run as search_run

        try:
            genotype = search_run.run(config, run_dir, resume=values.resume, devices=values.devices)
        except Stopped as stopped:
            raise Stopped(stopped.number, f"{stopped}; go on by --run_dir={run_dir} --resume") from None
        print(found(genotype, run_dir))


def resolved(config: SearchConfig) -> str:
    """What a configuration amounts to; without its data, what their published shape tells."""
    from dsrna_jax.data import load as data
    from dsrna_jax.networks import network
    from dsrna_jax.search import report as search_report
    from dsrna_jax.search.setup import searched_network, task

    try:
        job = task(config)
    except AbsentDataError as absent:
        shape, classes = data.published_shape(config.dataset, config.image_size)
        supernet = searched_network(config, shape, classes, *[(0.5,) * shape[-1]] * 2)
        described = json.dumps({"config": dataclasses.asdict(config)}, indent=2)
        count = network.weight_count(supernet, shape)
        return f"{described}\nweights: {count:,}\nsteps and memory are not known: {absent}"
    return f"{json.dumps(job.resolved, indent=2)}\n{search_report.report(job)}"


def found(genotype: Genotype, run_dir: Path) -> str:
    """What a person wants to know when a search is over."""
    lines = ["", "found:"]
    for cell in CELL_TYPES:
        names = [name for name, _ in getattr(genotype, cell)]
        counts = sorted({name: names.count(name) for name in names}.items(), key=lambda item: -item[1])
        lines.append(f"  {cell} cell: {', '.join(f'{count} {name}' for name, count in counts)}")
    return "\n".join([
        *lines, "", str(genotype), "",
        f"{run_dir} holds genotype.json, cells.png, alphas.png, curves.png, metrics.jsonl and checkpoints.",
        f"next: look at {run_dir}/cells.png; then see whether another seed finds the like (--seed=1 --run_dir=...)",
    ])  # fmt: skip


