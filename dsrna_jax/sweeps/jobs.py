"""Jobs of a sweep: command lines in which a flag that is given several times spans a grid."""

import itertools
import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, close_to, shown
from dsrna_jax.files import text_of, write_whole

FOLDER_FLAGS = {"search": "run_dir", "train": "run_dir", "attack": "out", "certify": "out"}  # by command
FILE = "sweep.json"
_LONGEST_NAME = 160  # of 255 bytes that file systems take
_SHAPE = {"directory": str, "jobs": {str: [str]}}


class Job(NamedTuple):
    """A command, its flags, and its name, which is that of its folder in the sweep's."""

    name: str
    command: str
    flags: tuple[str, ...]

    def folder(self, sweep: Path) -> Path:
        """The folder of the results."""
        return sweep / self.name

    def arguments(self, sweep: Path) -> list[str]:
        """The command line after `dsrna_jax`, without --resume."""
        return [self.command, *self.flags, f"--{FOLDER_FLAGS[self.command]}={self.folder(sweep)}"]


def grid(command: str, arguments: Sequence[str]) -> list[Job]:
    """The jobs of one line: every combination of the values of the flags that are given several times.

    A shell writes them: `train --seed={0..4}` is `train --seed=0 --seed=1 ...`. Names hold the values that differ.

    Raises: InputError if the command has no folder of results, or an argument is not --NAME=VALUE, --NAME or --noNAME.
    """
    if command not in FOLDER_FLAGS:
        raise InputError(
            f"a sweep cannot run {shown(command)}{close_to(command, FOLDER_FLAGS)}: expected one of {', '.join(FOLDER_FLAGS)}"
        )
    axes: dict[str, list[str]] = {}
    for argument in arguments:
        if not re.match(r"--?[A-Za-z_]", argument):
            raise InputError(f"unexpected argument {shown(argument)} of {command}: expected --NAME=VALUE")
        name = argument.partition("=")[0].lstrip("-")
        if name in (FOLDER_FLAGS[command], "resume", "dry_run"):
            raise InputError(f"--{name} of {command} is not for a sweep, which gives each job its folder and goes on by itself")
        opposite = name.removeprefix("no") if name.startswith("no") else f"no{name}"
        values = axes.setdefault(opposite if opposite in axes else name, [])
        if argument in values:
            raise InputError(f"{command} has {argument} twice: expected several values, or one")
        values.append(argument)
    varying = [name for name, values in axes.items() if len(values) > 1]
    jobs = []
    for flags in itertools.product(*axes.values()):
        parts = [flag.lstrip("-") for name, flag in zip(axes, flags, strict=True) if name in varying]
        jobs.append(Job(_file_name("_".join([command, *parts])), command, flags))
    return jobs


def jobs_of(lines: Sequence[Sequence[str]], known: Sequence[Job] = ()) -> list[Job]:
    """The jobs of several lines, each a command and its arguments, with a name of its own each.

    Args:
      known: jobs of the sweep before, whose names are taken; one with the same command and flags is that job.
    Raises: InputError as `grid` does, or if there are none, or one twice.
    """
    jobs: list[Job] = []
    for command, *arguments in lines:
        jobs += grid(command, arguments)
    if not jobs:
        raise InputError("a sweep of no commands: expected a command with flags, or a file with one in each line")
    if twice := next((job for job in jobs if sum(job[1:] == other[1:] for other in jobs) > 1), None):
        raise InputError(f"a sweep has `{shlex.join([twice.command, *twice.flags])}` twice")
    before, taken, own = {_task(job): job for job in known}, {job.name for job in known}, []
    for job in jobs:
        numbered = itertools.chain([job.name], (f"{job.name}_{number}" for number in itertools.count(2)))
        own.append(before.get(_task(job)) or job._replace(name=next(name for name in numbered if name not in taken)))
        taken.add(own[-1].name)
    return own


def _task(job: Job) -> tuple[str, frozenset[str]]:
    """The work of a job, whatever its name: its flags may be in any order, since each is given once."""
    return job.command, frozenset(job.flags)


def lines_of(path: str) -> list[list[str]]:
    """The command lines in a text file: one a line as a shell would read it, # begins a remark, `dsrna_jax` may come first.

    Raises: InputError if it cannot be read, or has a line with an open quotation mark.
    """
    try:
        text = text_of(path)
    except OSError as error:
        raise InputError(
            f"cannot read the commands of a sweep in {shown(path)}{close_to(path, FOLDER_FLAGS)}: {error.strerror}"
        ) from None
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        words = words[1:] if words[:1] == ["dsrna_jax"] else words
        lines += [words] if words else []
    return lines


def kept(sweep: Path) -> list[Job]:
    """The jobs that the folder of a sweep holds. Raises: InputError if it holds none, or they are garbled."""
    try:
        saved = strict_json.read(sweep / FILE, _SHAPE)["jobs"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no sweep in {sweep}: expected its {FILE}; give a command with flags, or a file of commands") from None
    if not all(words and words[0] in FOLDER_FLAGS for words in saved.values()):
        raise InputError(f"{sweep / FILE}: expected each job to be a command and its flags")
    return [Job(name, words[0], tuple(words[1:])) for name, words in saved.items()]


def directory(sweep: Path) -> str:
    """The working directory of the jobs, to which their flags are relative: that of the last call which added some."""
    return strict_json.read(sweep / FILE, _SHAPE)["directory"]


def keep(jobs: Sequence[Job], sweep: Path) -> list[Job]:
    """Adds jobs to those that the folder of a sweep holds, and returns all.

    Raises: InputError if it holds a job of the same name with other flags.
    """
    known = {job.name: job for job in kept(sweep)} if (sweep / FILE).exists() else {}
    for job in jobs:
        if known.setdefault(job.name, job) != job:
            was = shlex.join([known[job.name].command, *known[job.name].flags])
            raise InputError(f"{sweep} holds the job {job.name} with other flags ({was}): give another --run_dir")
    words = {job.name: [job.command, *job.flags] for job in known.values()}
    write_whole(sweep / FILE, json.dumps({"directory": os.getcwd(), "jobs": words}, indent=1) + "\n")
    return list(known.values())


def _file_name(text: str) -> str:
    """`text` with all but letters, digits and a few signs replaced, cut to a length that file systems take."""
    return re.sub(r"[^A-Za-z0-9._=+,-]+", "-", text)[:_LONGEST_NAME]
