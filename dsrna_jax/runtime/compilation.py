"""Programs compiled side by side, while the run that needs them gets ready; kept for the next run (`program_cache`)."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from dsrna_jax.data import Dataset
from dsrna_jax.runtime import program_cache, sharding
from dsrna_jax.runtime.device_data import DeviceData

Programs = TypeVar("Programs")  # a NamedTuple of functions


class ArgumentShapes(NamedTuple):
    """Shapes and shardings of what the programs of a run take: trees of `jax.ShapeDtypeStruct`.

    state: of the run. data: a `DeviceData`. key: of the run. indices, counts: of a batch, split over the devices.
    """

    state: Any
    data: DeviceData
    key: jax.ShapeDtypeStruct
    indices: jax.ShapeDtypeStruct
    counts: jax.ShapeDtypeStruct


def argument_shapes(init: Callable, dataset: Dataset, batch_size: int, mesh: Mesh) -> ArgumentShapes:
    """Of a run whose state is `init(key)`, on batches of that data set."""
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    return ArgumentShapes(
        abstract(jax.eval_shape(init, jax.random.key(0)), whole),
        abstract(DeviceData(dataset.images, dataset.labels), whole),
        abstract(jax.eval_shape(lambda: jax.random.key(0)), whole),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=split),
        jax.ShapeDtypeStruct((batch_size,), jnp.bool_, sharding=split),
    )


def abstract(tree: Any, placement: NamedSharding) -> Any:
    """Shapes and dtypes of the arrays of a tree, to be placed there."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), tree)


def initial_state(init: Callable, seed: int, mesh: Mesh) -> Any:
    """The state before the first step, `init(key)`, on every device.

    Drawn by XLA's own generator: the dozens of threefry draws that make a supernet take XLA half a minute to compile.
    """
    quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    init = jax.jit(init, out_shardings=sharding.replicated(mesh), compiler_options=quickly)
    return init(jax.random.key(seed, impl="rbg"))


def compiled(programs: Programs, arguments: dict[str, tuple], mesh: Mesh, identity: Any) -> Programs:
    """The functions of `programs` compiled, in the order of `arguments`: each a future, in a tuple of the same type.

    One that is not needed yet may still be compiling. Those named `..._step` take over the memory of their first argument,
    the state. Tracing is Python and goes one by one; XLA compiles without Python's lock.

    Args:
      arguments: by the name of each function to compile, the shapes of what it takes.
      identity: all that decides the functions besides these shapes; programs are kept by it (`program_cache`).
    """
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="compile")
    futures, options, devices = {}, sharding.compiler_options(mesh), list(mesh.devices.flat)
    for name in arguments:
        donated = (0,) if name.endswith("_step") else ()
        jitted = jax.jit(getattr(programs, name), donate_argnums=donated, out_shardings=sharding.replicated(mesh))
        file = program_cache.path((name, list(map(str, jax.tree.leaves(arguments[name]))), options, identity), devices)
        traced = functools.partial(jitted.lower, *arguments[name])
        if file is None or not file.is_file():
            traced = functools.partial(lambda lowered: lowered, traced())
        futures[name] = pool.submit(program_cache.kept, file, devices, lambda f=traced: f().compile(compiler_options=options))
    pool.shutdown(wait=False)
    futures_of: Any = type(programs)
    return futures_of(**futures)
