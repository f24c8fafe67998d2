"""The machine of a run: devices, cores and JAX, which decide the last bits of its results besides the code and the seeds."""

import os
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.options import interval
from dsrna_jax.runtime.origin import processor

MACHINE = {"devices": str, "cores": (int, interval("[1, 1e9]")), "jax": str}
"""Its shape in files, for `strict_json.check`."""

HARDWARE = {"device": str, "processor": str, "cores": (int, interval("[0, 1e9]"))}
"""The shape of `hardware` in files."""


def machine(mesh: Mesh) -> dict[str, Any]:
    """Its devices in words, the CPU cores that this process may use, and the version of JAX, as JSON.

    XLA splits sums among the cores of a CPU, so their order, and with it the rounding, follows their number.
    """
    return {"devices": sharding.described(mesh), "cores": cores(), "jax": jax.__version__}


def hardware() -> dict[str, Any]:
    """The kind of the devices and, where they are CPUs, the processor and the cores that this process may use; else "" and 0.

    What decides how long a program takes, besides the program.
    """
    mesh = sharding.mesh(1)
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return {
        "device": mesh.devices.flat[0].device_kind,
        "processor": processor() if is_cpu else "",
        "cores": cores() if is_cpu else 0,
    }


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warning(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    """A warning that work was begun on another machine; None if that was like this one, or is not recorded (version 0.1.0)."""
    names = [name for name in now if name != "cores" or "cpu" in now["devices"]]  # cores do not affect sums on other devices
    changed = [f"{name} {before.get(name)} then, {now[name]} now" for name in names if before and before.get(name) != now[name]]
    if not changed:
        return None
    return (
        f"WARN: this is another machine ({'; '.join(changed)}): it goes on, but not bit for bit as an unbroken run; "
        "for that, resume where it was started (taskset -c 0-3 gives it 4 cores)"
    )
