"""The units in which R counts logits.

Without one, R rises when all logits shrink, which makes no image harder to attack. A unit is a function (logits [batch, class],
labels [batch]) -> [batch], positive. `margin` and `std` are multiplied by c where logits are, so that an R in these units
does not change. Gradients go through R and through its unit; the unit of an image is a number, whatever its neighbourhood is.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dsrna_jax import losses
from dsrna_jax.data_parallel import batch_mean

LEAST = 0.01  # of a mean margin, in mean standard deviations: where nearly no image is classified correctly

Logits = Float[Array, "batch classes"]
Labels = Int[Array, " batch"]


def one(logits: Logits, labels: Labels | None) -> Float[Array, " batch"]:
    """1: logits as they are, as in the paper."""
    return jnp.ones(len(logits), jnp.promote_types(logits.dtype, jnp.float32))


def mean_margin(logits: Logits, labels: Labels) -> Float[Array, " batch"]:
    """The mean clean margin of the batch, the same for each image; misclassified ones count with 0.

    At least `LEAST` times the mean of `std`.
    """
    margins = jnp.maximum(losses.margin(_wide(logits), labels), 0)
    mean, least = batch_mean((margins.mean(), std(logits).mean()))
    return jnp.full(len(logits), jnp.maximum(mean, LEAST * least))


def std(logits: Logits, labels: Labels | None = None) -> Float[Array, " batch"]:
    """The standard deviation of the logits of each image over the classes; at least 1e-6."""
    return jnp.sqrt(jnp.maximum(_wide(logits).var(1), 1e-12))


def _wide(logits: Array) -> Array:
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


UNITS: dict[str, Callable[..., Float[Array, " batch"]]] = {"one": one, "margin": mean_margin, "std": std}


def in_unit(name: str) -> str:
    """The unit in the label of an R; nothing for `one`."""
    return "" if name == "one" else f" / {name}"
