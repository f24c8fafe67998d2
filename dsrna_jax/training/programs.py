"""The training step as compiled programs on batches given by indices."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from dsrna_jax.runtime import compilation, sharding
from dsrna_jax.training.setup import TrainingTask
from dsrna_jax.training.step import Training


class Functions(NamedTuple):
    """What is compiled, before it is; `key` is that of the whole run.

    train_step(state, examples, indices, key) -> (state, metrics)
    evaluate(state, examples, indices, counts, key) -> sums over those that count: loss, right, right under attack.
    """

    train_step: Callable
    evaluate: Callable


def functions(training: Training, mesh: Mesh) -> Functions:
    """The functions of a training on batches given by indices [batch], split over the devices of `mesh`."""

    def gathered(examples, indices):
        return lax.with_sharding_constraint(examples.images[indices], sharding.split(mesh)), examples.labels[indices]

    def train_step(state, examples, indices, key):
        return training.train_step(state, *gathered(examples, indices), key)

    def evaluate(state, examples, indices, counts, key):
        values = training.evaluate(state, *gathered(examples, indices), key)
        return tuple(jnp.sum(jnp.where(counts, value, 0)) for value in values)

    return Functions(train_step, evaluate)


def arguments(task: TrainingTask, mesh: Mesh) -> dict[str, tuple]:
    """Shapes and shardings of the arguments of each of the `Functions`."""
    whole, split = sharding.replicated(mesh), sharding.split(mesh)
    state = compilation.abstract(jax.eval_shape(task.training.init, jax.random.key(0)), whole)
    data = compilation.abstract(compilation.Examples(task.dataset.images, task.dataset.labels), whole)
    key = compilation.abstract(jax.eval_shape(lambda: jax.random.key(0)), whole)
    indices, counts = (jax.ShapeDtypeStruct((task.config.batch_size,), dtype, sharding=split) for dtype in (jnp.int32, jnp.bool_))
    return {"train_step": (state, data, indices, key), "evaluate": (state, data, indices, counts, key)}
