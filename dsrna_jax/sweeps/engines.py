"""Engines of a sweep: where jobs run, and how they are ended. How a job went is in its record, which `worker.run_job` writes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from dsrna_jax.errors import InputError, shown
from dsrna_jax.extras import packages_for
from dsrna_jax.parent import of_this_process
from dsrna_jax.sweeps.worker import run_job

ENGINES = ("local", "slurm", "ray")
_UNLIMITED = 2**31


class Handle(Protocol):
    """A job that was submitted."""

    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        ...

    def cancel(self) -> None:
        """Asks it to save its work and end."""
        ...


class Engine(Protocol):
    """A place where jobs run. `capacity` is the number that it takes at once; a cluster queues the rest by itself."""

    capacity: int

    def submit(self, sweep: Path, name: str) -> Handle:
        """Starts a job, or queues it."""
        ...


class Local:
    """Processes of this machine: one for each GPU, which it alone sees, or one on the CPU.

    at_once: number of processes; 0 for as many as there are GPUs, or one. More than there are GPUs share them in turn. Several on
    the CPU divide its cores, where the system lets them: small networks gain little from a second core.
    """

    def __init__(self, at_once: int = 0):
        gpus = visible_gpus()
        self.capacity = at_once or len(gpus) or 1
        self._seen = [gpus[slot % len(gpus)] if gpus else None for slot in range(self.capacity)]
        self._cores = [None] * self.capacity if gpus else shares_of_cores(self.capacity)
        self._running: list[_Process | None] = [None] * self.capacity

    def submit(self, sweep: Path, name: str) -> Handle:
        """Starts a job on a free slot."""
        slot = next(i for i, process in enumerate(self._running) if process is None or process.is_done())
        gpu = {"CUDA_VISIBLE_DEVICES": seen} if (seen := self._seen[slot]) is not None else {}
        command = [sys.executable, "-m", "dsrna_jax.sweeps.worker", str(sweep), name]
        with _on_cores(self._cores[slot]):
            process = self._running[slot] = _Process(command, gpu)
        return process


class _Process:
    def __init__(self, command: list[str], environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment, **of_this_process()}, stdin=subprocess.DEVNULL
        )

    def is_done(self) -> bool:
        return self._process.poll() is not None

    def cancel(self) -> None:
        self._process.send_signal(signal.SIGTERM)


def shares_of_cores(count: int) -> list[set[int] | None]:
    """The cores of this process divided among `count` processes; None, for all of them, where they are fewer or not known."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[slot::count]) if count <= len(cores) else None for slot in range(count)]


@contextlib.contextmanager
def _on_cores(cores: set[int] | None) -> Iterator[None]:
    """Processes that this thread starts have these cores alone; None for all of its own."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def visible_gpus() -> list[str]:
    """Numbers or names of the NVIDIA GPUs that a process of this machine sees, by CUDA_VISIBLE_DEVICES or else nvidia-smi."""
    if (listed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in listed.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(number) for number in range(len(listing.stdout.splitlines()))] if listing.returncode == 0 else []


class Slurm:
    """A Slurm cluster, by submitit, which also goes on with jobs whose time is over.

    Args:
      folder: for submitit's files, which all nodes must see.
      cluster: "slurm", or "local" for processes of this machine in its place, to try a sweep.
      options: of `submitit.AutoExecutor.update_parameters`, such as timeout_min, gpus_per_node or slurm_partition.
    Raises: InputError if submitit or Slurm is not installed, or an option is unknown.
    """

    capacity = _UNLIMITED

    def __init__(self, folder: Path, cluster: str = "slurm", options: Mapping[str, Any] | None = None):
        os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # its import would configure, and so close, the logs of all
        with packages_for("engine=slurm"):
            import submitit
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise InputError("engine=slurm needs the command sbatch, which this machine lacks: run the sweep on a login node")
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(name="dsrna_jax", **(options or {}))
        except (NameError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"slurm_options: {' '.join(str(error).split())[:300]}") from None

    def submit(self, sweep: Path, name: str) -> Handle:
        """Queues a job."""
        return _SlurmJob(self._executor.submit(Submission(sweep, name)))


class Submission:
    """A job as submitit calls it, on a node."""

    def __init__(self, sweep: Path, name: str):
        self.sweep, self.name = str(sweep.absolute()), name

    def __call__(self) -> int:
        """Runs the job. Returns its exit status."""
        return run_job(self.sweep, self.name)

    def checkpoint(self) -> Any:
        """A job that goes on with this one, for submitit to queue when the time of this one is over."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class _SlurmJob:
    def __init__(self, job: Any):
        self._job = job

    def is_done(self) -> bool:
        return self._job.done()

    def cancel(self) -> None:
        self._job.cancel(check=False)


class Ray:
    """A Ray cluster: a job takes CPUs and GPUs of any node, which must see the folder of the sweep.

    Args:
      address: of the cluster, such as "auto" or "ray://HOST:10001"; "" starts one on this machine.
      cpus: of a job.
      gpus: of a job; negative for one if the cluster has GPUs.
    Raises: InputError if ray is not installed, or does not answer.
    """

    capacity = _UNLIMITED

    def __init__(self, address: str = "", cpus: float = 1, gpus: float = -1):
        with packages_for("engine=ray"):
            import ray
        self._ray: Any = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a job without GPUs keeps the environment as it is
        if not self._ray.is_initialized():
            _check_answer(address)
            try:
                self._ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", include_dashboard=False
                               if not address else None)  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                raise InputError(f"ray_address={shown(address)}: {' '.join(str(error).split())[:200]}") from None
        there = self._ray.cluster_resources()
        gpus = float("GPU" in there) if gpus < 0 else gpus
        for name, wanted in (("CPU", cpus), ("GPU", gpus)):
            if wanted > there.get(name, 0):
                raise InputError(f"a job takes {wanted:g} {name}s, but the Ray cluster has {there.get(name, 0):g}")
        self._run = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_job)

    def submit(self, sweep: Path, name: str) -> Handle:
        """Queues a job."""
        return _RayJob(self._ray, self._run.remote(str(sweep.absolute()), name))


def _check_answer(address: str) -> None:
    """Raises: InputError unless HOST:PORT or ray://HOST:PORT answers, for which Ray itself would wait many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"ray_address={shown(address)}: no cluster answers there ({reason}): start it") from None


class _RayJob:
    def __init__(self, ray: Any, reference: Any):
        self._ray, self._reference = ray, reference

    def is_done(self) -> bool:
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def cancel(self) -> None:
        self._ray.cancel(self._reference, force=False)
