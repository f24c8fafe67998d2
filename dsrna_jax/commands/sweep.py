"""Run many commands: a grid of flags, on this machine, a Slurm cluster or a Ray cluster.

dsrna_jax sweep --run_dir=runs/gamma search --gamma=0 --gamma=0.01 --gamma=0.1 --seed=0 --seed=1        six searches
dsrna_jax sweep --run_dir=runs/gamma search --gamma={0,0.01,0.1} --seed={0,1}        the same, as bash and zsh write it
dsrna_jax sweep --run_dir=runs/cells FILE        the commands in a text file, one a line; flags span grids there too
dsrna_jax sweep --run_dir=runs/cells --status    how far each is
dsrna_jax sweep --run_dir=runs/cells             go on: what is not done, and what was stopped or failed
dsrna_jax sweep --run_dir=runs/cells --engine=slurm --slurm_options=timeout_min=600,gpus_per_node=1 FILE
dsrna_jax sweep --run_dir=runs/cells --engine=ray --ray_address=auto FILE

Flags of the sweep come before the command or the file. A job is a search, a training, an attack or a certification. Its results
are in RUN_DIR/NAME, its output in RUN_DIR/logs/NAME.txt. A job that fails is started again, and goes on where it was.
"""

import functools
import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from absl.flags import FlagValues

from dsrna_jax.commands.command import parsed_flags
from dsrna_jax.commands.engines import define_engine, engine
from dsrna_jax.commands.flags import OF_PROCESSES, define, no_flags, parse
from dsrna_jax.errors import InputError, close_to, shown
from dsrna_jax.files import expanded
from dsrna_jax.runtime.invocation import COMMANDS, command_line, in_users_words
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.sweeps.jobs import FILE, Job, jobs_of, keep, kept, lines_of
from dsrna_jax.sweeps.run import run
from dsrna_jax.sweeps.table import table


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong, or if a job failed; Stopped."""
    values = _flags()
    count = next((i for i, argument in enumerate(argv[1:], 1) if not argument.startswith("-")), len(argv))
    parse(values, argv[:count])
    if values.help or "--help" in argv[count:]:
        print(f"{in_users_words(__doc__ or '')}\n{values.get_help()}")
        return
    sweep = Path(values.run_dir)
    check_path(sweep, "run_dir")
    given = _given(argv[count:], sweep)
    if values.status or values.dry_run:
        jobs = given or kept(sweep)
        lines = [shlex.join(["dsrna_jax", *job.arguments(sweep)]) for job in jobs]
        print(table(jobs, sweep) if values.status else "\n".join(lines))
        return
    with locked(sweep, "run_dir"):
        jobs = keep(given, sweep) if given else kept(sweep)
        try:
            swept = run(jobs, sweep, engine(values, sweep), values.retries)
        except Stopped as stopped:
            raise Stopped(stopped.number, f"{stopped}; go on by {_again(argv[1:count])}") from None
    print(f"\n{table(jobs, sweep)}")
    if swept.failed:
        raise InputError(f"{len(swept.failed)} of {len(jobs)} jobs are not done ({', '.join(swept.failed[:3])}"
                         f"{', ...' if len(swept.failed) > 3 else ''}): try them again by {_again(argv[1:count])}")  # fmt: skip
    trainings = [str(job.folder(sweep)) for job in jobs if job.command == "train"]
    if trainings:
        print(f"next: {command_line('compare')} {shlex.join(trainings)}")


def _flags() -> FlagValues:
    values = no_flags()
    define(values, "run_dir", "runs/sweep", "folder of the sweep, which all machines must see")
    define(values, "status", False, "show how far each job is, and run nothing")
    define(values, "dry_run", False, "show the command of each job, and run nothing")
    define_engine(values)
    return values


def _given(arguments: Sequence[str], sweep: Path) -> list[Job]:
    """The jobs on the command line, each checked by its command's own rules, and by the names of its genotype and data set."""
    if not arguments:
        return []
    from dsrna_jax.data import sources
    from dsrna_jax.genotypes import zoo

    first, *rest = arguments
    if first not in COMMANDS and rest:
        raise InputError(
            f"unexpected argument {shown(rest[0])} after the file {shown(first)}"
            f"{close_to(first, COMMANDS)}: flags of the sweep come first"
        )
    known = kept(sweep) if (sweep / FILE).exists() else []
    jobs = jobs_of([arguments] if first in COMMANDS else lines_of(first), known)
    check_known = functools.cache(sources.check_known)  # that asks tfds, which takes seconds
    for job in jobs:
        command = importlib.import_module(f"dsrna_jax.commands.{job.command}").COMMAND
        try:
            values = parsed_flags(command, [job.command, *job.flags])
            if any(values[name].present for name in OF_PROCESSES):
                raise InputError("each job of a sweep is one process: leave out coordinator_address and what belongs to it")
            config, _ = command.settings(values)
            if job.command in ("search", "train"):
                check_known(config.dataset, config.data_dir)
            if job.command == "train" and not _is_made_by(sweep, config.genotype):
                zoo.resolve(config.genotype)
        except InputError as error:
            raise InputError(f"{shlex.join([job.command, *job.flags])}: {error}") from None
    return jobs


def _is_made_by(sweep: Path, genotype: str) -> bool:
    """Whether a genotype is in the folder of the sweep, where one of its jobs may write it; or is `list`, that asks for names."""
    return genotype == "list" or expanded(genotype).absolute().is_relative_to(sweep.absolute())


def _again(flags: Sequence[str]) -> str:
    return " ".join(filter(None, [command_line("sweep"), shlex.join(flags)]))
