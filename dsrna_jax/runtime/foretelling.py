"""The time that a run will take, from calls of its compiled programs."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.compilation import compiled
from dsrna_jax.runtime.durations import in_words

_REPEATS = 3


def foretold(
    programs: Any, arguments: dict[str, tuple], calls: Mapping[str, int], mesh: Mesh, identity: Any, rare: Collection[str] = ()
) -> list[str]:
    """Lines of text: the time of a call of each program, how often a run calls it, and an estimate of the time of all calls.

    Compiles the programs, which the run itself then finds (`program_cache`). Weights and images are zeros: a run whose cost
    depends on them takes another time. Pictures and checkpoints are not counted, nor is what waits for the data.

    Args:
      programs, arguments, identity, rare: as `compilation.compiled` takes them.
      calls: the number of calls in the whole run, by name.
    """
    began = time.perf_counter()
    try:
        futures = compiled(programs, arguments, mesh, identity, rare)
        ready = {name: getattr(futures, name).result() for name in arguments}
    except InputError as error:  # bounds check their memory
        return [f"WARN: its time is not known: {error}"]
    took = time.perf_counter() - began
    lines, total = [f"time on {sharding.described(mesh)}, from calls on zeros (ready to run after {in_words(took)}):"], 0.0
    for name, shapes in arguments.items():
        seconds, count = _seconds(ready[name], shapes, name.endswith("_step")), calls[name]
        total += count * seconds
        lines.append(f"  {name.replace('_', ' ')}: {seconds:.3g} s, {count:,} calls")
    return [*lines, f"  about {in_words(total)} in all, without pictures, checkpoints and reading of data"]


def _seconds(program: Callable, shapes: tuple, is_step: bool) -> float:
    """The median time of a call; a step takes over the memory of its first argument, and returns the next one first."""
    values, times = list(jax.tree.map(_zeros, shapes)), []
    for _ in range(1 + _REPEATS):
        began = time.perf_counter()
        result = jax.block_until_ready(program(*values))
        times.append(time.perf_counter() - began)
        if is_step:
            values[0] = result[0]
    return statistics.median(times[1:])


def _zeros(shape: jax.ShapeDtypeStruct) -> jax.Array:
    is_key = jnp.issubdtype(shape.dtype, jax.dtypes.prng_key)
    return jax.device_put(jax.random.key(0) if is_key else np.zeros(shape.shape, shape.dtype), shape.sharding)
