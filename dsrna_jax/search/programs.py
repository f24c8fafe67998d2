"""The search step as compiled programs: gather a batch from the data on the device, augment it, move alphas or weights."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from dsrna_jax.data import Dataset, augment
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.compilation import Examples, abstract, step_key
from dsrna_jax.search.step import Batch, Search

_TRAIN, _VAL, _PROJECTIONS = range(3)  # streams of randomness


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


def arguments(search: Search, examples: Examples | Dataset, batch_size: int, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each of the `Functions`, in the order in which a search needs them."""
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    state = abstract(jax.eval_shape(search.init, jax.random.key(0)), whole)
    data = abstract(Examples(examples.images, examples.labels), whole)
    key = abstract(jax.eval_shape(lambda: jax.random.key(0)), whole)
    indices = jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=split)
    counts = jax.ShapeDtypeStruct((batch_size,), jnp.bool_, sharding=split)
    return {
        "weight_step": (state, data, indices, key),
        "evaluate": (state, data, indices, counts),
        "alpha_step": (state, data, indices, indices, key),
        **({"certify": (state, data, indices)} if search.certify else {}),
    }
