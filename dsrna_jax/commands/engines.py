"""The flags that say where the jobs of a sweep run."""

from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.flags import define
from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.options import interval
from dsrna_jax.sweeps.engines import ENGINES, Engine, Local, Ray, Slurm

_RANGES = {"at_once": interval("[0, 4096]"), "retries": interval("[0, 100]"), "cpus": interval("(0, 4096]"),
           "gpus": interval("[-1, 4096]")}  # fmt: skip


def define_engine(values: FlagValues) -> None:
    """Adds the flags of engines."""
    define(values, "engine", "local", "where jobs run: on this machine, by submitit, by ray", ENGINES)
    define(values, "retries", 1, "how often a job that fails is started again")
    define(values, "at_once", 0, "local: jobs at once; 0 for one a GPU, or one on the CPU")
    define(values, "slurm_options", "", "slurm: parameters of submitit, such as timeout_min=600,slurm_partition=gpu")
    define(
        values, "slurm_cluster", "slurm", "slurm: local is submitit's own trial, by processes of this machine", ("slurm", "local")
    )
    define(values, "ray_address", "", "ray: address of the cluster, such as auto; by default one is started on this machine")
    define(values, "cpus", 1.0, "ray: CPUs of a job")
    define(values, "gpus", -1.0, "ray: GPUs of a job; -1 for one if the cluster has any")


def check_engine(values: FlagValues) -> None:
    """Raises: InputError if one of the flags is out of its range."""
    for name, allowed in _RANGES.items():
        if values[name].value not in allowed:
            raise InputError(f"{name}={shown(values[name].value)}: expected a number in {allowed}")


def engine(values: FlagValues, sweep: Path) -> Engine:
    """The engine that the flags choose. Raises: InputError if it is not there, or does not take the options."""
    if values.engine == "slurm":
        return Slurm(sweep / "slurm", values.slurm_cluster, _options(values.slurm_options))
    if values.engine == "ray":
        return Ray(values.ray_address, values.cpus, values.gpus)
    return Local(values.at_once)


def _options(text: str) -> dict[str, Any]:
    """NAME=VALUE,... as a dictionary, whole numbers as such. Raises: InputError for anything else."""
    options = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not (equals and name.isidentifier() and value):
            raise InputError(f"slurm_options={shown(text)}: expected NAME=VALUE,NAME=VALUE")
        options[name] = int(value) if value.isdecimal() else value
    return options
