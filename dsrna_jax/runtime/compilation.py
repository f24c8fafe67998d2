"""Compilation of the programs of a run, side by side and in the background; kept for the next run (`program_cache`)."""

import contextlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import export
from jax.sharding import Mesh, NamedSharding

from dsrna_jax.runtime import device_data, program_cache, sharding
from dsrna_jax.runtime.device_data import DeviceData, StreamedBatch
from dsrna_jax.runtime.exported import Signature, exported, module_name
from dsrna_jax.runtime.exported import compiled as compiled_export
from dsrna_jax.runtime.memory import memory_of
from dsrna_jax.runtime.setup import RunSetup

Programs = TypeVar("Programs")  # a NamedTuple of functions


class ArgumentShapes(NamedTuple):
    """Shapes and shardings of the arguments of a run's programs: trees of `jax.ShapeDtypeStruct`.

    state, key: of the run.
    data: a `DeviceData`.
    batch: indices, whole on every device; or a `StreamedBatch`, split over the devices.
    counts: whether each image of a batch counts, split over the devices.
    """

    state: Any
    data: DeviceData
    key: jax.ShapeDtypeStruct
    batch: jax.ShapeDtypeStruct | StreamedBatch
    counts: jax.ShapeDtypeStruct


def argument_shapes(setup: RunSetup, mesh: Mesh) -> ArgumentShapes:
    """The `ArgumentShapes` of a run, whose state is `setup.functions.init(key)`."""
    whole, split, size = sharding.replicated(mesh), sharding.split(mesh), setup.config.batch_size
    indices = jax.ShapeDtypeStruct((size,), jnp.int32, sharding=whole)
    labels = jax.ShapeDtypeStruct((size,), jnp.int32, sharding=split)
    images = jax.ShapeDtypeStruct((size, *setup.dataset.image_shape), jnp.uint8, sharding=split)
    return ArgumentShapes(
        abstract(jax.eval_shape(setup.functions.init, jax.random.key(0)), whole),
        device_data.abstract(setup.data, mesh),
        abstract(jax.eval_shape(lambda: jax.random.key(0)), whole),
        StreamedBatch(images, labels) if setup.is_streamed else indices,
        jax.ShapeDtypeStruct((size,), jnp.bool_, sharding=split),
    )


def abstract(tree: Any, placement: NamedSharding) -> Any:
    """Shapes and dtypes of the arrays of a tree, with the sharding `placement`."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), tree)


def initial_state(init: Callable, seed: int, mesh: Mesh) -> Any:
    """The state before the first step, `init(key)`, on every device.

    Drawn by XLA's own generator, because the many threefry draws of a supernet take long to compile.
    """
    quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    init = jax.jit(init, out_shardings=sharding.replicated(mesh), compiler_options=quickly)
    return init(jax.random.key(seed, impl="rbg"))


def compiled(programs: Programs, arguments: dict[str, tuple], mesh: Mesh, identity: Any, rare: Collection[str] = ()) -> Programs:
    """The functions of `programs` compiled, in the order of `arguments`: each a future, in a tuple of the same type.

    Functions named `..._step` take over the memory of their first argument, the state. Tracing is Python and goes one by one; XLA
    compiles in threads, without Python's lock.

    Args:
      arguments: shapes of the arguments of each function to compile, by its name.
      identity: all facts that decide the functions besides these shapes; programs are kept by it (`program_cache`).
      rare: names of functions that run so seldom that on a CPU it takes less time to optimise them less.
    """
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="compile")
    futures, devices = {}, list(mesh.devices.flat)
    with memory_of(mesh):
        for name, shapes in arguments.items():
            options = sharding.compiler_options(mesh, is_rare=name in rare)
            signature = Signature(shapes, sharding.replicated(mesh), name.endswith("_step"))
            facts = (name, list(map(str, jax.tree.leaves(shapes))), options, identity)
            file = program_cache.path(facts, devices)
            program = _kept(file)
            if program is None:
                program = exported(getattr(programs, name), signature)
            futures[name] = pool.submit(_compiled, program, signature, module_name(name, facts), options, file)
    pool.shutdown(wait=False)
    futures_of: Any = type(programs)
    return futures_of(**futures)


def _kept(file: Path | None) -> export.Exported | None:
    """The program in a file of `program_cache`, if it has one that this version of JAX can read."""
    if (content := program_cache.read(file)) is None:
        return None
    with contextlib.suppress(Exception):  # of another version's format
        return export.deserialize(bytearray(content))
    return None


def _compiled(program: export.Exported, signature: Signature, name: str, options: dict[str, Any], file: Path | None) -> Callable:
    """The program compiled, and kept in `file`."""
    function = compiled_export(program, signature, name, options)
    program_cache.write(file, bytes(program.serialize()), f"jit_{name}")
    return function
