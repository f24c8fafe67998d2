"""A search that is a series of searches, or a single one: from beginning to end, or from where it stopped."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from dsrna_jax import genotypes
from dsrna_jax.runtime import run as runtime_run
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.lock import locked
from dsrna_jax.runtime.log_writers import check_installed
from dsrna_jax.runtime.machine import machine
from dsrna_jax.runtime.paths import is_begun
from dsrna_jax.runtime.run_folder import identity
from dsrna_jax.search import run as search_run
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.setup import search_setup
from dsrna_jax.series.branch import branch_off
from dsrna_jax.series.folder import SeriesFolder
from dsrna_jax.series.members import Member, MemberOutcome, first, members
from dsrna_jax.training.folder import TrainingFolder
from dsrna_jax.training.run import TrainingLoop
from dsrna_jax.training.setup import training_setup


def run(
    config: SearchConfig,
    path: str | os.PathLike,
    *,
    resume: bool = False,
    devices: int = 0,
    file: TextIO | None = None,
    log: Sequence[str] = (),
) -> Any:
    """Searches as the configuration says, in the run folder `path`; returns the genotype found.

    The members of a series have folders of their own in it, and are ordinary runs: `resume` passes over those that are done and
    goes on with the one that was stopped, so that the series ends as if it had never stopped. Arguments and exceptions as those
    of `search.run.run`, which runs a search that is no series.
    """
    options = {"devices": devices, "file": file, "log": log}
    if not config.is_series:
        return search_run.run(config, path, resume=resume, **options)
    processes = joined()
    folder = SeriesFolder(path, is_written=processes.is_first)
    with locked(folder.path, "run_dir"):
        if processes.is_first:
            check_installed(tuple(log))
            folder.check(resume)
        resolved = {**search_setup(first(config)).resolved, "config": dataclasses.asdict(config)}
        processes.agree("configuration or data set", identity(resolved))
        folder.claim(resolved, machine(sharding.mesh(devices)))
        series, ended, done = members(config), [], processes.decided(folder.done if processes.is_first else None)
        try:
            member = next(series)
            while True:
                if member.name not in done:
                    if processes.is_first:
                        print(member.heading, file=file or sys.stdout, flush=True)
                    _run(member, config, folder, **options)
                    folder.finish(member)
                ended.append(member)
                outcome = processes.decided(folder.outcome(member) if processes.is_first else None)
                genotype = genotypes.from_json(outcome[0])
                member = series.send(MemberOutcome(genotype, *outcome[1:]))
        except StopIteration as end:
            genotype = end.value
        if folder.is_written:
            folder.gather(ended, genotype, config)
    return genotype


def _run(member: Member, config: SearchConfig, folder: SeriesFolder, **options: Any) -> None:
    """Runs a member to its end, from where it stopped if it has begun."""
    path, training = folder.path / member.name, member.config
    resume = joined().decided(is_begun(path))
    if isinstance(training, SearchConfig):
        if member.start is not None and not resume:
            branch_off(folder.path / member.start.name, member.start.epoch, path, training, folder.is_written)
        search_run.run(training, path, resume=resume or member.start is not None, **options)
        return
    own = TrainingFolder(path, is_written=folder.is_written)
    shares = (config.train_share, config.val_share)
    setup = lambda: training_setup(training, member.genotype, shares=shares)  # noqa: E731
    with locked(path, "run_dir"):
        end = runtime_run.run(setup, TrainingLoop, own, training, resume=resume, **options)
        if own.is_written:
            own.draw(end.setup.architecture, f"{folder.path.name}: {member.heading}")
