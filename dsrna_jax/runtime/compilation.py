"""The search step as compiled programs: gather a batch from the data on the device, augment it, move alphas or weights.

Indices go in, the images never leave the device. Randomness is a pure function of (seed, stream, step).
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dsrna_jax.data import Dataset
from dsrna_jax.runtime import program_cache, sharding


class Examples(NamedTuple):
    """All images uint8 [examples, height, width, channels] and labels int32 [examples], on every device."""

    images: jax.Array
    labels: jax.Array


def step_key(key, stream: int, step):
    """The key of one step of one stream."""
    return jax.random.fold_in(jax.random.fold_in(key, stream), step)


def on_devices(dataset: Dataset, mesh: Mesh) -> Examples:
    """The examples of a data set, on every device."""
    return jax.device_put(Examples(dataset.images, dataset.labels), sharding.replicated(mesh))


def initial_state(search: Any, seed: int, mesh: Mesh) -> Any:
    """The state before the first step, `search.init(key)`, on every device.

    Drawn by XLA's own generator: the dozens of threefry draws that make a supernet take XLA half a minute to compile.
    """
    quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    init = jax.jit(search.init, out_shardings=sharding.replicated(mesh), compiler_options=quickly)
    return init(jax.random.key(seed, impl="rbg"))


def abstract(tree, placement):
    """Shapes and dtypes of the arrays of a tree, to be placed there."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), tree)


def compiled(functions: NamedTuple, arguments: dict[str, tuple], mesh: Mesh, identity: Any) -> Any:
    """The functions compiled, side by side, in the order of `arguments`: each a future, in a tuple of the same type.

    One that is not needed yet may still be compiling. Steps take over the memory of their state.
    Tracing is Python and goes one by one; XLA compiles without Python's lock.

    Args:
      identity: all that decides the functions besides the shapes of their arguments; programs are kept by it (`executables`).
    """
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="compile")
    futures, options, devices = {}, sharding.compiler_options(mesh), list(mesh.devices.flat)
    for name in arguments:
        donated = () if name in ("evaluate", "certify") else (0,)
        jitted = jax.jit(getattr(functions, name), donate_argnums=donated, out_shardings=sharding.replicated(mesh))
        file = program_cache.path((name, list(map(str, jax.tree.leaves(arguments[name]))), options, identity), devices)
        traced = functools.partial(jitted.lower, *arguments[name])
        if file is None or not file.is_file():
            traced = functools.partial(lambda lowered: lowered, traced())
        futures[name] = pool.submit(program_cache.kept, file, devices, lambda f=traced: f().compile(compiler_options=options))
    pool.shutdown(wait=False)
    return type(functions)(**futures)


def evaluation_batches(indices: np.ndarray, batch_size: int):
    """`indices` in batches of equal size, each with a mask of those that count: the last one is filled up."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        counts = np.arange(batch_size) < len(part)
        yield np.resize(part, batch_size).astype(np.int32), counts
