"""Chains of dense cells, whose certified deviation has a closed form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.measures import certificates

LABELS = np.array([1, 0, 2])


@dataclasses.dataclass(frozen=True)
class Chain:
    """Dense cells in the stages of a `NetworkFunction`, on states [c, b, 1, 1]: matrices[i] @ (before + last), linear above -10.

    It is written as (gain + 1) y - gain * y, so that interval widths grow by 2 gain + 1 in each cell and values do not.
    """

    matrices: tuple
    weights: jax.Array  # of the head, [class, c]
    gain: float | jax.Array = 0.0

    def stem(self, images):
        state = images.reshape(len(images), -1).T[..., None, None]
        return state, state

    @property
    def cells(self):
        return [functools.partial(self.cell, m) for m in self.matrices]

    def cell(self, matrix, before, last, scale=1.0):
        y = jnp.einsum("dc,cbhw->dbhw", matrix, before + last)
        return jax.nn.relu((self.gain + 1) * y - self.gain * y + 10 * scale) - 10 * scale

    def head(self, last):
        return jnp.einsum("kc,cb->bk", self.weights, last[..., 0, 0])

    def __call__(self, images):
        return self.rescaled([1.0] * len(self.matrices))(images)

    def rescaled(self, factors, zoom=1.0):
        def whole(images):
            before, last, scale = *self.stem(images), zoom
            for factor, matrix in zip(factors, self.matrices, strict=True):
                scale = scale * factor
                before, last = factor * last, self.cell(matrix, factor * before, factor * last, scale)
            return self.head(last)

        return whole


def chain(cells=3, gain=0.0):
    generator = np.random.default_rng(0)
    matrices = tuple(np.linalg.qr(generator.normal(size=(4, 4)))[0].astype(np.float32) for _ in range(cells))
    return Chain(matrices, generator.normal(size=(3, 4)).astype(np.float32), gain)


IMAGES = np.random.default_rng(1).uniform(0.2, 0.8, (3, 2, 2, 1)).astype(np.float32)


KEY = jax.random.key(0)


def log(radius):
    return jnp.log(jnp.float32(radius))


@functools.partial(jax.jit, static_argnames=("name", "method", "entries", "unit"))
def measured(name, net, images, labels, log_radius, **options):
    """(logits, R, slack) of a chain."""
    return certificates.CERTIFICATES[name](Chain(*net), images, labels, KEY, log_radius=log_radius, **options)


def of(net):
    return net.matrices, net.weights, net.gain


def right_labels(net):
    return np.asarray(net(IMAGES).argmax(1))
