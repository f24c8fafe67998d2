"""A linear classifier of the digits in place of a trained network, so that tests of commands compile little."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dsrna_jax import genotypes
from dsrna_jax.data import load
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.restore import TrainedNetwork

_GENES = (("skip_connect", 0), ("sep_conv_3x3", 1))
TINY = Genotype(_GENES, (2,), _GENES, (2,))
STATISTICS = {"mean": (0.5,), "std": (0.25,)}


def affine(variables, images):
    weights = variables["params"]
    return images.reshape(len(images), -1) @ weights["w"] + weights["b"][None]


@functools.cache
def fitted():
    """Ridge regression on the training images."""
    digits = load("digits", "train")
    x = np.c_[digits.images.reshape(len(digits), -1) / 255, np.ones(len(digits))]
    return np.linalg.solve(x.T @ x + 10 * np.eye(65), x.T @ np.eye(10)[digits.labels]).astype(np.float32)


def exact_radii(images, labels):
    """[images]: the l-infinity distance to the nearest boundary of the linear classifier, 0 where it is wrong."""
    weights = fitted().astype(float)
    logits = images.reshape(len(images), -1) @ weights[:-1] + weights[-1]
    rows = np.arange(len(labels))
    lengths = np.abs(weights[:-1].T[labels][:, None] - weights[:-1].T[None]).sum(2)
    gaps = (logits[rows, labels][:, None] - logits) / np.where(lengths > 0, lengths, 1)
    gaps[rows, labels] = np.inf
    return np.maximum(gaps.min(1), 0)


def linear_network(scale: float = 1.0, architecture: Genotype = TINY, **config) -> TrainedNetwork:
    """The classifier, its weights times `scale`, as a training with that configuration would have left it."""
    weights = fitted() * np.float32(scale)
    variables = {"params": {"w": jnp.asarray(weights[:-1]), "b": jnp.asarray(weights[-1])}}
    data = {"examples": 1437, "image_shape": [8, 8, 1], "class_names": list("0123456789")}
    data |= {name: list(values) for name, values in STATISTICS.items()}
    metadata = {
        "experiment": "training",
        "config": dataclasses.asdict(TrainingConfig(**config)),
        "genotype": genotypes.to_json(architecture),
        "data": data,
    }
    described = derived_network(architecture, cells=3, channels=4, classes=10, **STATISTICS)
    return TrainedNetwork(Partial(affine, variables), described, variables, metadata, 7)


def as_command() -> None:
    """`dsrna_jax` with the linear classifier in whatever checkpoint is named."""
    from dsrna_jax.commands.console import run

    restore.load = lambda path: linear_network()
    run()


if __name__ == "__main__":
    as_command()
