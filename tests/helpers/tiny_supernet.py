"""A stand-in for a supernet, one dense layer, batch norm and a mixture, whose search step compiles in a moment."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.genotypes.genotype import CELL_TYPES
from dsrna_jax.networks.layers import BatchNorm
from dsrna_jax.search import step as search_step
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.state import SearchBatch

IMAGE, CLASSES = (2, 3, 1), 3
CONFIG = SearchConfig(
    space="darts",
    cells=3,
    nodes=1,
    jacobian_method="exact",
    gamma=0.5,
    order="first",
    epochs=4,
    weight_lr=0.3,
    weight_lr_min=0.1,
    weight_decay=0.02,
    clip=0.2,
    alpha_lr=0.05,
    alpha_decay=0.0,
)


class Tiny(nn.Module):
    """A network with all that a search needs of a supernet: weights, batch statistics, and mixtures that weigh branches."""

    @nn.compact
    def __call__(self, images, mixtures=None, statistics="running"):
        branches = [jnp.ones(14)] * 2 if mixtures is None else [mixtures[kind].branches for kind in CELL_TYPES]
        x = images.reshape(len(images), -1)
        hidden = x @ self.param("in", nn.initializers.normal(1.0), (x.shape[1], 14))
        hidden = jnp.tanh(BatchNorm()(hidden.T[..., None, None], statistics)[..., 0, 0].T)
        return (hidden * branches[0][None]) @ self.param("out", nn.initializers.normal(1.0), (14, CLASSES)) * branches[1].sum()


def batch(seed):
    generator = np.random.default_rng(seed)
    return SearchBatch(generator.uniform(size=(6, *IMAGE)).astype(np.float32), generator.integers(CLASSES, size=6))


NET, TRAIN, VAL, KEY = Tiny(), batch(0), batch(1), jax.random.key(1)


@functools.cache
def functions(**changes):
    """The functions of `CONFIG` with changes, not compiled; three steps an epoch."""
    return search_step.search_functions(dataclasses.replace(CONFIG, **changes), NET, IMAGE, 3)


@functools.cache
def make(**changes):
    """(config, init, alpha_step, weight_step, evaluate) of `CONFIG` with changes; three steps an epoch."""
    of = functions(**changes)
    return of.config, *map(jax.jit, (of.init, of.alpha_step, of.weight_step, of.evaluate))
