"""Devices: one mesh with one axis, "data". State is whole on every device, a batch is split; the same code for any number.

No other module names devices, whether of one process or of many. Results do not depend on their number, except by the order
of sums.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from dsrna_jax.data_parallel import AXIS
from dsrna_jax.errors import InputError


def mesh(count: int = 0) -> Mesh:
    """A mesh of the first `count` devices, or of all if it is 0; equally many of each process.

    Raises: InputError if there are not as many.
    """
    devices, processes = jax.devices(), jax.process_count()
    if not 0 <= count <= len(devices):
        raise InputError(f"devices={count}: expected 1 to {len(devices)}, as many as JAX sees here, or 0 for all")
    if count % processes:
        raise InputError(
            f"devices={count}: expected a multiple of {processes}, the number of processes that share them, or 0 for all"
        )
    of_process = [[d for d in devices if d.process_index == i] for i in range(processes)]
    share = count // processes or min(map(len, of_process))
    if not count and share * processes < len(devices):
        counts = ", ".join(str(len(own)) for own in of_process)
        raise InputError(f"the processes have {counts} devices: expected as many each; give devices={share * processes}")
    return _mesh([device for own in of_process for device in own[:share]])


def own_mesh(count: int = 0) -> Mesh:
    """A mesh of the devices of this process among those of `mesh`, for work that the processes do each by itself."""
    return _mesh([device for device in mesh(count).devices.flat if device.process_index == jax.process_index()])


def _mesh(devices: list[Any]) -> Mesh:
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that are whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is divided among the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def placed(tree: Any, sharding: NamedSharding) -> Any:
    """The arrays of a tree, which all processes have alike, on those devices; each process feeds its own."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def each(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(each(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(each, tree)


def rows_padded(count: int, mesh: Mesh) -> int:
    """The number of rows of a table of `count`, filled up so that the devices hold equally many."""
    return -(-count // mesh.size) * mesh.size


def divided(table: np.ndarray, mesh: Mesh) -> jax.Array:
    """A table that all processes have alike, its rows divided among the devices; rows of zeros fill it up to `rows_padded`."""
    if mesh.size == 1:
        return placed(table, replicated(mesh))

    def part(index):
        rows = table[index]
        missing = (index[0].stop or shape[0]) - (index[0].start or 0) - len(rows)
        return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows

    shape = (rows_padded(len(table), mesh), *table.shape[1:])
    return jax.make_array_from_callback(shape, split(mesh), part)


def on_each_device(function: Callable, arguments: Any, mesh: Mesh | AbstractMesh) -> Callable:
    """`function` as each device runs it, on its own examples (`data_parallel`); on one device, the function itself.

    Its results must be alike on all devices.

    Args:
      arguments: those of the function, as trees of `jax.ShapeDtypeStruct` that say how each is divided among the devices.
    """
    if mesh.size == 1:
        return function
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, arguments)
    # Unchecked, since types of "varying" arrays do not pass through primitives of our own.
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False)


def by_example(function: Callable, mesh: Mesh | None) -> Callable:
    """`function(network, *arrays)` as each device runs it on its own examples; all arrays and the result are [batch, ...].

    A batch that does not divide among the devices is computed by each of them as a whole. Without a mesh, or on one device, it
    is the function itself.
    """
    return function if mesh is None or mesh.size == 1 else _ByExample(function, mesh)


@dataclasses.dataclass(frozen=True)
class _ByExample:
    """The function of `by_example`; equal ones compile once."""

    function: Callable
    mesh: Mesh

    def __call__(self, network, *arrays):
        if len(arrays[0]) % self.mesh.size:
            return self.function(network, *arrays)
        own, every = PartitionSpec(AXIS), PartitionSpec()
        specs = (every, *[own] * len(arrays))
        each = jax.shard_map(self.function, mesh=self.mesh, in_specs=specs, out_specs=own, check_vma=False)
        return each(network, *arrays)


def network_by_example(network: Partial, mesh: Mesh) -> Partial:
    """A network whose weights are whole on every device, and which each device applies to its own images of a batch."""
    network = placed(network, replicated(mesh))
    return network if mesh.size == 1 else Partial(by_example(_applied, mesh), network)


def _applied(network, images):
    return network(images)


def check_divides(batch_size: int, mesh: Mesh, name: str = "batch_size") -> None:
    """Raises: InputError, which calls the size by `name`, unless every device gets equally many images of a batch."""
    if rest := batch_size % mesh.size:
        near = sorted({max(batch_size - rest, mesh.size), batch_size - rest + mesh.size})
        raise InputError(
            f"{name}={batch_size} does not divide among {mesh.size} devices: "
            f"expected a multiple such as {' or '.join(map(str, near))}, or fewer devices"
        )


def compiler_options(mesh: Mesh, is_rare: bool = False) -> dict[str, Any]:
    """Options with which XLA compiles a large step quickly on these devices; one that is rare, to slower code in half the time.

    On a CPU, XLA's older emitters with little of LLVM's optimisation compile a step faster, to code of the same speed (jaxlib
    0.10). Later releases have only the new emitters, which need full optimisation.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    least = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    older = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1} if _has_older_emitters() else {}
    return older | least if is_rare else older


@functools.cache
def _has_older_emitters() -> bool:
    """Whether XLA of this process knows the option of its older emitters, which only compiling with it tells."""
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={"xla_cpu_use_fusion_emitters": False})
    except jax.errors.JaxRuntimeError:
        return False
    return True


def described(mesh: Mesh) -> str:
    """The devices in words, such as "2 cpu devices" or "1 NVIDIA H100 device"."""
    return f"{mesh.size} {mesh.devices.flat[0].device_kind} device{'s' if mesh.size > 1 else ''}"
