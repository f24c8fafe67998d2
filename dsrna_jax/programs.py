"""The search step as compiled programs: gather a batch from the data on the device, augment it, move alphas or weights.

Indices go in, the images never leave the device. Randomness is a pure function of (seed, stream, step).
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from dsrna_jax import augment, executables, sharding
from dsrna_jax.data import Dataset
from dsrna_jax.search import Batch, Search

_TRAIN, _VAL, _PROJECTIONS = range(3)  # streams of randomness


class Examples(NamedTuple):
    """All images uint8 [examples, height, width, channels] and labels int32 [examples], on every device."""

    images: jax.Array
    labels: jax.Array


class Functions(NamedTuple):
    """What is compiled, before it is; `key` is that of the whole run.

    weight_step(state, examples, train_indices, key) -> (state, metrics)
    alpha_step(state, examples, train_indices, val_indices, key) -> (state, metrics)
    evaluate(state, examples, indices, counts) -> (loss, right): sums over those of the batch that count.
    certify(state, examples, indices) -> [batch]; None if nothing is certified.
    """

    weight_step: Callable
    alpha_step: Callable
    evaluate: Callable
    certify: Callable | None = None


def functions(search: Search, mesh: Mesh) -> Functions:
    """The functions of a search on batches given by indices [batch], split over the devices of `mesh`."""

    def gathered(examples, indices):
        images = lax.with_sharding_constraint(examples.images[indices], sharding.split(mesh))
        return images, examples.labels[indices]

    def batch(state, examples, indices, key, stream):
        images, labels = gathered(examples, indices)
        return Batch(search.augmented(images, step_key(key, stream, state.step)), labels)

    def weight_step(state, examples, indices, key):
        return search.weight_step(state, batch(state, examples, indices, key, _TRAIN))

    def alpha_step(state, examples, train_indices, val_indices, key):
        train = batch(state, examples, train_indices, key, _TRAIN)
        val = batch(state, examples, val_indices, key, _VAL)
        return search.alpha_step(state, train, val, step_key(key, _PROJECTIONS, state.step))

    def evaluate(state, examples, indices, counts):
        images, labels = gathered(examples, indices)
        loss, right = search.evaluate(state, Batch(augment.pixels(images), labels))
        return jnp.sum(jnp.where(counts, loss, 0)), jnp.sum(right & counts)

    def certify(state, examples, indices):
        images, labels = gathered(examples, indices)
        return search.certify(state, Batch(augment.pixels(images), labels))

    return Functions(weight_step, alpha_step, evaluate, search.certify and certify)


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


def arguments(search: Search, examples: Examples | Dataset, batch_size: int, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each of the `Functions`, in the order in which a search needs them."""
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    state = placed(jax.eval_shape(search.init, jax.random.key(0)), whole)
    data = placed(Examples(examples.images, examples.labels), whole)
    key = placed(jax.eval_shape(lambda: jax.random.key(0)), whole)
    indices = jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=split)
    counts = jax.ShapeDtypeStruct((batch_size,), jnp.bool_, sharding=split)
    return {
        "weight_step": (state, data, indices, key),
        "evaluate": (state, data, indices, counts),
        "alpha_step": (state, data, indices, indices, key),
        **({"certify": (state, data, indices)} if search.certify else {}),
    }


def placed(tree, placement):
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
        file = executables.path((name, list(map(str, jax.tree.leaves(arguments[name]))), options, identity), devices)
        traced = functools.partial(jitted.lower, *arguments[name])
        if file is None or not file.is_file():
            traced = functools.partial(lambda lowered: lowered, traced())
        futures[name] = pool.submit(executables.kept, file, devices, lambda f=traced: f().compile(compiler_options=options))
    pool.shutdown(wait=False)
    return type(functions)(**futures)


def evaluation_batches(indices: np.ndarray, batch_size: int):
    """`indices` in batches of equal size, each with a mask of those that count: the last one is filled up."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        counts = np.arange(batch_size) < len(part)
        yield np.resize(part, batch_size).astype(np.int32), counts
