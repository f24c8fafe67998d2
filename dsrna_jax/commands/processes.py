"""The flags by which a command runs in several processes, on one host or many."""

import dataclasses
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.flags import define
from dsrna_jax.errors import InputError

FLAGS = {
    "coordinator_address": (
        "",
        "HOST:PORT of process 0, if several processes share the work; auto: Slurm, Open MPI, Kubernetes tell",
        None,
    ),
    "num_processes": (0, "number of processes that share the work", "[0, 65536]"),
    "process_id": (-1, "number of this process, from 0: the one flag in which they differ", "[-1, 65535]"),
    "join_timeout": (300, "seconds in which all processes must come", "[1, 86400]"),
}


def define_processes(values: FlagValues) -> None:
    """Adds the flags of processes."""
    for name, (default, text, allowed) in FLAGS.items():
        define(values, name, default, text, allowed, section="processes")


def join_processes(values: FlagValues) -> None:
    """Joins the processes that the flags name, if there are any, unless this is a dry run.

    Raises: InputError if the flags do not fit together, or as `joining.join`.
    """
    address = values.coordinator_address
    typed = [name for name in ("num_processes", "process_id") if values[name].present]
    if not address and typed:
        raise InputError(f"{typed[0]} needs coordinator_address: give HOST:PORT of process 0")
    if address and not values.dry_run:
        from dsrna_jax.runtime.joining import join

        join(address, values.num_processes, values.process_id, values.join_timeout)


def facts(name: str, config: Any, folder: Path, values: FlagValues) -> dict[str, Any]:
    """Flags and configuration that all processes of a run must have alike, as JSON: all except the folder of the data."""
    own = {"command": name, "folder": str(folder), "resume": values.resume, "devices": values.devices}
    return own | {**dataclasses.asdict(config), "data_dir": None}
