"""Objectives of a child: a value for each held-out image, whose mean counts; more is better, except for multiply-adds.

A child is judged by the batch statistics of the images at hand, kept as constants: the running statistics of a supernet are those
of all its sub-networks together (Guo et al. 2020, arXiv:1904.00420, section 3.4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax import attacks
from dsrna_jax.measures.measure import Measure
from dsrna_jax.networks.function import NetworkFunction


class Child(NamedTuple):
    """A child on a batch of images in [0, 1]."""

    function: NetworkFunction
    logits: Float[Array, "batch class"]
    images: Float[Array, "batch height width channel"]
    labels: Int[Array, " batch"]
    key: PRNGKeyArray
    config: Any
    measure: Measure
    multiply_adds: Float[Array, ""]


def accuracy(child: Child) -> Float[Array, " batch"]:
    """Whether the class is predicted."""
    return (jnp.argmax(child.logits, axis=1) == child.labels).astype(jnp.float32)


def pgd_accuracy(child: Child) -> Float[Array, " batch"]:
    """Whether the class is predicted, and still is under PGD: an upper bound of robust accuracy."""
    options = {"radius": child.config.attack_radius, "steps": child.config.attack_steps}
    attacked = attacks.pgd(child.function, child.images, child.labels, child.key, **options)
    return accuracy(child) * ~attacked.success


def robustness(child: Child) -> Float[Array, " batch"]:
    """R, by the configured measure."""
    log_radius = jnp.log(jnp.float32(child.config.radius))
    return child.measure.apply(child.function, child.images, child.labels, child.key, log_radius=log_radius).robustness


def multiply_adds(child: Child) -> Float[Array, " batch"]:
    """Multiply-adds of the child for one image."""
    return jnp.broadcast_to(child.multiply_adds, len(child.labels))


OBJECTIVES: dict[str, Callable[[Child], Float[Array, " batch"]]] = {
    "accuracy": accuracy,
    "pgd_accuracy": pgd_accuracy,
    "robustness": robustness,
    "multiply_adds": multiply_adds,
}
