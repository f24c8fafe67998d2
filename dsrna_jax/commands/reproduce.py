"""Reproduce Tables 1 to 6 of the paper: all searches, trainings, attacks and certificates, and a page beside the paper's.

dsrna_jax reproduce --scale=digits --table=all --dry_run                    every command, what is there, what it costs
dsrna_jax reproduce --scale=digits --table=all                              within an hour on two cores
dsrna_jax reproduce --scale=mnist_small --table=4 --data_dir=PATH           MNIST in small networks
dsrna_jax reproduce --scale=paper --table=1 --methods=dsrna_cb,pcdarts_adv --engine=slurm --data_dir=PATH

What is there already is not run again: the same command goes on after a stop, and adds tables, methods and seeds. A method named
`random` adds cells that are drawn at random, the control.
"""

import functools
import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import parsed_flags
from dsrna_jax.commands.engines import define_engine, engine
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.errors import InputError, shown
from dsrna_jax.reproduction import protocols
from dsrna_jax.reproduction.graph import RunNode, check_same
from dsrna_jax.reproduction.plan import Plan
from dsrna_jax.reproduction.protocols import Table
from dsrna_jax.reproduction.running import run_graph
from dsrna_jax.runtime.invocation import command_line, in_users_words
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.paths import check_path
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.sweeps.engines import visible_gpus


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`.

    Raises: InputError if they are wrong, if data or devices are absent, or if a run failed; Stopped.
    """
    values = _flags()
    parse(values, argv)
    if values.help:
        print(f"{in_users_words(__doc__ or '')}\n{_names()}\n{values.get_help()}")
        return
    out, scale = Path(values.out or f"runs/reproduce_{values.scale}"), protocols.scale(values.scale)
    check_path(out, "out")
    names = [name for name in values.methods.split(",") if name]
    common = {"data_dir": values.data_dir} if values.data_dir else {}
    plan = Plan(scale, _tables(values.table), names, values.seeds, out, common, resolved)
    has_gpu = values.engine != "local" or bool(visible_gpus())
    if values.dry_run:
        print(plan.text(has_gpu))
        return
    if missing := plan.missing(has_gpu):
        raise InputError(missing[0])
    with locked(out, "out"):
        check_same(plan.graph, out)
        _run(plan, values, f"{command_line('reproduce')} {shlex.join(argv[1:])}".strip())


def _flags() -> FlagValues:
    values = no_flags()
    define(values, "table", "all", "tables of the paper: all, or numbers separated by commas")
    define(values, "scale", "digits", "size of all runs", protocols.scale_names())
    define(values, "seeds", 0, "searches of each method; 0 for the number of the scale", "[0, 1000]")
    define(values, "methods", "", "rows, separated by commas; by default those of the scale")
    define(values, "out", None, "folder of all runs and of the page; by default runs/reproduce_SCALE")
    define(values, "data_dir", "", "prepared tfds folder")
    define(values, "dry_run", False, "show every command, what is there already and what it costs, and run nothing")
    define_engine(values)
    return values


def _names() -> str:
    scales = [f"  {name:14} {protocols.scale(name).says}" for name in protocols.scale_names()]
    return "\n".join(["scales:", *scales, f"methods: {', '.join(protocols.methods())}", ""])


def _run(plan: Plan, values: FlagValues, command: str) -> None:
    """Runs what is not done, and writes the tables of what is. Raises: InputError if a run failed; Stopped."""
    if values.engine == "local" and not values.at_once and not visible_gpus():
        values.at_once = plan.scale.at_once
    try:
        swept = run_graph(plan.costs, engine(values, plan.out), values.retries)
    except Stopped as stopped:
        kept = f"{plan.out} keeps them, and what the others had saved"
        raise Stopped(stopped.number, f"{stopped}; {kept}; go on by {command}") from None
    from dsrna_jax.reproduction import report

    files = f"{plan.out} holds {report.NAME}.html, .md, .csv and .tex"
    print(f"\n{report.write(plan, command)}\n{files}.\nnext: open {plan.out}/{report.NAME}.html in a browser")
    if swept.failed:
        more = ", ..." if len(swept.failed) > 3 else ""
        names, count = f"{', '.join(swept.failed[:3])}{more}", f"{len(swept.failed)} of {len(swept.jobs)}"
        raise InputError(f"{count} runs are not done ({names}), and their figures are missing: try "
                         f"them again by {command}")  # fmt: skip


def resolved(node: RunNode) -> Any:
    """The configuration of a run. Raises: InputError, which names the run, if its flags do not fit together."""
    try:
        return _resolved(node.command, node.job.flags)
    except InputError as error:
        raise InputError(f"{node.name}: {error}") from None


@functools.cache
def _resolved(name: str, flags: tuple[str, ...]) -> Any:
    command = importlib.import_module(f"dsrna_jax.commands.{name}").COMMAND
    return command.settings(parsed_flags(command, [name, *flags]))[0]


def _tables(text: str) -> list[Table]:
    """The tables of --table. Raises: InputError for anything but all, or numbers from 1 to 6."""
    if text == "all":
        return [protocols.table(number) for number in protocols.TABLES]
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() and int(number) in protocols.TABLES for number in numbers):
        raise InputError(f"table={shown(text)}: expected all, or numbers from 1 to 6 separated by commas, such as 1,4")
    return [protocols.table(number) for number in sorted({int(number) for number in numbers})]
