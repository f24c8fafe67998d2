"""Asks whether a search with R gives cells that are more robust than those of the searches it competes with.

    python -m experiments.question --protocol=digits --dry_run           every run and what all cost
    python -m experiments.question --protocol=mnist --data_dir=PATH
    python -m experiments.question --protocol=cifar10 --data_dir=PATH --engine=slurm

Chooses gamma on held-out images, searches with every method and seed, draws random cells of as many weights, trains, attacks
and certifies all, and ends with a page: intervals, paired tests, the answer. What is there is not run again. The folder's small
files, rows.jsonl, matches.json and cells/, are enough to go on elsewhere; a new folder begins with those of
experiments/studies/question/results.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl.flags import FlagValues

from dsrna_jax.commands.engines import define_engine, engine
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import enable_compilation_cache
from dsrna_jax.commands.reproduce import resolved
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.reproduction.costs import Costs
from dsrna_jax.reproduction.graph import RunGraph, check_same
from dsrna_jax.reproduction.running import run_graph
from dsrna_jax.runtime.durations import in_words
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.origin import described, origin
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.sweeps.engines import visible_gpus
from experiments.studies.question.protocol import Protocol, names, protocol
from experiments.studies.question.rows import FILE, begin, measured

if TYPE_CHECKING:
    from experiments.studies.question.experiment import Experiment

COMMAND = "python -m experiments.question"


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong or a run failed; Stopped."""
    values = _flags()
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    from experiments.studies.question.experiment import Experiment  # which imports SciPy

    own = protocol(values.protocol)
    out = Path(values.out or f"runs/question_{own.name}")
    common = {"data_dir": values.data_dir} if values.data_dir else {}
    if values.dry_run:
        is_new = measured(own.name).exists() and not (out / FILE).exists()
        print(plan(Experiment(own, measured(own.name) if is_new else out, common)))
        return
    _check_data(own, common)
    with locked(out, "out"):
        begin(out, own.name)
        experiment = Experiment(own, out, common)
        experiment.collect()  # of runs that ended while nobody looked
        try:
            for stage in experiment.stages():
                _run(stage, out, values, experiment)
        except Stopped as stopped:
            again = " ".join([COMMAND, *argv[1:]])
            raise Stopped(
                stopped.number, f"{stopped}; {out} keeps them, and what the others had saved; go on by {again}"
            ) from None
        enable_compilation_cache()
        experiment.rank()
        print(f"\n{_report(experiment)}\n{out} holds index.html and rows.jsonl.\nnext: open {out}/index.html in a browser")


def plan(experiment: "Experiment") -> str:
    """The runs of each stage that are not there yet, and their cost on two cores."""
    from experiments.studies.question import stages

    whole = stages.whole(experiment.protocol, experiment.out, experiment.common)
    left = stages.left(whole, experiment.protocol, {*experiment.rows.by_name, *experiment.twins()}, experiment.cells)
    left += experiment.unscored()
    costs = Costs(whole, experiment.out, resolved)
    lines = [experiment.protocol.says, ""]
    for kind in dict.fromkeys(node.kind for node in whole.nodes.values()):
        every = [name for name, node in whole.nodes.items() if node.kind == kind]
        there = [name for name in every if name not in left or costs.is_done(name)]
        seconds = sum(costs.seconds(name) for name in every if name not in there)
        lines.append(f"{kind:12} {len(every):4} runs, {len(there)} of them there, about {in_words(seconds)} left")
    total = sum(costs.seconds(name) for name in left if not costs.is_done(name))
    lines.append(f"about {in_words(total)} left, one run after the other on two cores; the rank study measures R besides")
    return "\n".join(lines)


def _run(graph: RunGraph, out: Path, values: FlagValues, experiment: "Experiment") -> None:
    if not graph.nodes:
        return
    check_same(graph, out)
    if values.engine == "local" and not values.at_once and not visible_gpus():
        values.at_once = experiment.protocol.at_once
    swept = run_graph(Costs(graph, out, resolved), engine(values, out), values.retries, ended=lambda _: experiment.collect())
    if swept.failed:
        names = ", ".join(swept.failed[:3])
        raise InputError(
            f"{len(swept.failed)} of {len(swept.jobs)} runs are not done ({names}): try them again by the same command"
        )


def _check_data(own: Protocol, common: Mapping[str, Any]) -> None:
    from dsrna_jax.data.sources import is_there

    name = own.section.flags["search"].get("dataset", "digits")
    folder = common.get("data_dir")
    if not is_there(name, folder):
        raise InputError(f"{name} not found{f' in {folder}' if folder else ''}: give --data_dir=PATH, where it is prepared; "
                         "--protocol=digits needs no data")  # fmt: skip


def _report(experiment: "Experiment") -> str:
    from experiments.studies.question import page
    from experiments.studies.question.rank import with_sizes

    own, rows, matches = experiment.protocol, experiment.rows, experiment.matches
    networks = [row for row in rows.of("network") if row["method"] in own.methods]
    said = page.answered(own, networks, matches)
    sheets = page.sheets(own, networks, rows.of("gamma"), with_sizes(rows.of("rank"), rows.of("network")), matches)
    made = described(origin(), {})
    how = f"dsrna_jax {made['dsrna_jax']}: {made['command']}"
    write_whole(experiment.out / "index.html", page.html(own, said, sheets, [own.says, how]))
    return page.markdown(said, sheets)


def _flags() -> FlagValues:
    values = no_flags()
    define(values, "protocol", "digits", "size of the experiment", names())
    define(values, "out", None, "folder of all runs and of the page; by default runs/question_PROTOCOL")
    define(values, "data_dir", "", "prepared tfds folder")
    define(values, "dry_run", False, "show how many runs there are and what they cost, and run nothing")
    define_engine(values)
    return values
