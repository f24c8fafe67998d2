"""Sanity checks of the gradients that attacks follow."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.losses import margin_loss
from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn, climb
from dsrna_jax.evaluation.attack.sanity.check import Check, check


def gradient_checks(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "batch *image"],
    labels: Int[np.ndarray, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: float,
    norm: str = "linf",
) -> Iterator[Check]:
    """Checks that gradients of the margin do not vanish, and agree with finite differences.

    Those of the cross-entropy vanish where these do: `attacks.losses.cross_entropy` keeps its direction at any scale of logits.
    """
    network, keys = as_partial(logits_fn), example_keys(key, len(images))
    share = float(np.mean(np.asarray(_gradient_sizes(network, images, labels, keys, np.float32(radius), norm=norm)) == 0))
    yield check("zero gradients", share <= 0.05, share, f"{share:.1%} of those of the margin vanish, at images and near them")
    error = float(np.median(_gradient_errors(network, images, labels, keys)))
    yield check("finite differences", error < 0.1, error, f"differ by {error:.1%} from the gradient of the margin (median)")


@functools.partial(jax.jit, static_argnames="norm")
def _gradient_sizes(logits_fn: Partial, images: Array, labels: Array, keys: Array, radius: Array, *, norm: str) -> Array:
    """Largest absolute derivative of the margin by a pixel, [point, batch]: at the image and at random."""
    points = jnp.stack([jnp.asarray(images), ball.uniform(keys, jnp.asarray(images), radius, norm)])
    return lax.map(lambda x: ball.size(climb(logits_fn, margin_loss, x, labels)[2], "linf"), points)


@jax.jit
def _gradient_errors(logits_fn: Partial, images: Array, labels: Array, keys: Array) -> Array:
    """Relative error of the margin's derivative in five random directions against central differences: [batch]."""
    step = 1e-3 * np.sqrt(images[0].size)
    images = jnp.clip(images, 0.005, 0.995)  # pixels move by about 0.001, and must stay in the box
    gradient = climb(logits_fn, margin_loss, images, labels)[2]
    directions = jnp.stack([ball.unit(ball.normal(folded(keys, i), images), "l2") for i in range(5)])
    moves = step * jnp.concatenate([directions, -directions])
    values = lax.map(lambda move: margin_loss(logits_fn(images + move), labels), moves)
    differences = (values[:5] - values[5:]) / (2 * step)
    slopes = (directions * gradient[None]).reshape(5, len(images), -1).sum(2)
    size = jnp.maximum(ball.size(differences.T, "l2"), 1e-30)
    return ball.size((differences - slopes).T, "l2") / size
