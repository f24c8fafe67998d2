"""Loss, accuracy and margin of logits."""

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from dsrna_jax.kernels.reductions import max_over

TOP_5_FROM = 20  # classes: with fewer, five guesses say little


def cross_entropy(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """-log softmax(logits)[label], in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def accuracy(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, ""]:
    """Share of examples whose label has the highest logit, in [0, 1]."""
    return jnp.mean(jnp.argmax(logits, axis=1) == labels)


def in_top_5(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Bool[Array, " batch"]:
    """Whether the label is among the classes with the five highest logits; of equal ones, the first count."""
    return jnp.any(lax.top_k(logits, min(5, logits.shape[1]))[1] == labels[:, None], axis=1)


def margin(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Logit of the label minus the largest other logit: positive where the image is classified correctly."""
    others = jnp.where(jnp.arange(logits.shape[1])[None] == labels[:, None], -jnp.inf, logits)
    return of_class(logits, labels) - max_over(others, 1)


def of_class(values: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """values[i, labels[i]] for each i."""
    return jnp.take_along_axis(values, labels[:, None], axis=1)[:, 0]
