"""The flags that say where the jobs of a sweep run."""

import re
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from dsrna_jax.commands.flags import define
from dsrna_jax.sweeps.engines import ENGINES, Engine, Local, Ray, Slurm

_OPTIONS = re.compile(r"([^\W\d]\w*=[^,]+(,|$))*")


def define_engine(values: FlagValues) -> None:
    """Adds the flags of engines."""
    define(values, "engine", "local", "where jobs run: on this machine, by submitit, by ray", ENGINES)
    define(values, "retries", 1, "how often a job that fails is started again", "[0, 100]")
    define(values, "at_once", 0, "local: jobs at once; 0 for one a GPU, or one on the CPU", "[0, 4096]")
    define(values, "slurm_options", "", "slurm: parameters of submitit, such as timeout_min=600,slurm_partition=gpu")
    flags.register_validator("slurm_options", _OPTIONS.fullmatch, "expected NAME=VALUE,NAME=VALUE", flag_values=values)
    define(
        values, "slurm_cluster", "slurm", "slurm: local is submitit's own trial, by processes of this machine", ("slurm", "local")
    )
    define(values, "ray_address", "", "ray: address of the cluster, such as auto; by default one is started on this machine")
    define(values, "cpus", 1.0, "ray: CPUs of a job", "(0, 4096]")
    define(values, "gpus", -1.0, "ray: GPUs of a job; -1 for one if the cluster has any", "[-1, 4096]")


def engine(values: FlagValues, sweep: Path) -> Engine:
    """The engine that the flags choose. Raises: InputError if it is not there, or does not take the options."""
    if values.engine == "slurm":
        return Slurm(sweep / "slurm", values.slurm_cluster, _options(values.slurm_options))
    if values.engine == "ray":
        return Ray(values.ray_address, values.cpus, values.gpus)
    return Local(values.at_once)


def _options(text: str) -> dict[str, Any]:
    """NAME=VALUE,... as a dictionary, whole numbers as such."""
    pairs = [part.partition("=")[::2] for part in filter(None, text.split(","))]
    return {name: int(value) if value.isdecimal() else value for name, value in pairs}
