"""Devices: one mesh with one axis, "data". State is whole on every device, a batch is split; the same code for any number.

No other module names devices. Results do not depend on their number, except by the order of sums.
"""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dsrna_jax.errors import InputError


def mesh(count: int = 0) -> Mesh:
    """A mesh of the first `count` devices, or of all if it is 0. Raises: InputError if there are not as many."""
    devices = jax.devices()
    if not 0 <= count <= len(devices):
        raise InputError(f"devices={count}: expected 1 to {len(devices)}, as many as JAX sees here, or 0 for all")
    count = count or len(devices)
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that are whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is divided among the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_divides(batch_size: int, mesh: Mesh) -> None:
    """Raises: InputError unless every device gets equally many images of a batch."""
    if rest := batch_size % mesh.size:
        near = sorted({max(batch_size - rest, mesh.size), batch_size - rest + mesh.size})
        raise InputError(
            f"batch_size={batch_size} does not divide among {mesh.size} devices: "
            f"expected a multiple such as {' or '.join(map(str, near))}, or fewer devices"
        )


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """Options with which XLA compiles a large step quickly on these devices.

    On a CPU, XLA's older emitters with little of LLVM's optimisation compile a step faster, to code of the same speed (jaxlib
    0.10). Later releases have only the new emitters, which need full optimisation.
    """
    options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=options)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def described(mesh: Mesh) -> str:
    """The devices in words, such as "2 cpu devices" or "1 NVIDIA H100 device"."""
    return f"{mesh.size} {mesh.devices.flat[0].device_kind} device{'s' if mesh.size > 1 else ''}"
