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
from dsrna_jax.attacks.losses import cross_entropy, margin_loss
from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn, climb
from dsrna_jax.evaluation.attack.sanity.check import Check, check

VANISHED = 1e-8  # gradients of this size, relative to those of the margin, count as zero


def gradient_checks(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "batch *image"],
    labels: Int[np.ndarray, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: float,
    norm: str = "linf",
) -> Iterator[Check]:
    """Checks that gradients of cross-entropy and margin do not vanish, and agree with finite differences."""
    network, keys = as_partial(logits_fn), example_keys(key, len(images))
    by_margin, by_entropy = np.asarray(_gradient_sizes(network, images, labels, keys, np.float32(radius), norm=norm))
    # The gradient of cross-entropy is about 1 - p times the margin's; float32 resolves 1 - p down to 1e-7: less is noise.
    shares = [float(np.mean(size <= VANISHED * by_margin)) for size in (by_entropy, by_margin)]
    says = f"{shares[0]:.1%} of those of cross-entropy vanish, {shares[1]:.1%} of those of the margin, at images and near them"
    yield check("zero gradients", max(shares) <= 0.05, max(shares), says)
    error = float(np.median(_gradient_errors(network, images, labels, keys)))
    yield check("finite differences", error < 0.1, error, f"differ by {error:.1%} from the gradient of the margin (median)")


@functools.partial(jax.jit, static_argnames="norm")
def _gradient_sizes(logits_fn: Partial, images: Array, labels: Array, keys: Array, radius: Array, *, norm: str) -> Array:
    """Largest absolute derivative by a pixel, [loss, point, batch]: of margin and cross-entropy, at the image and at random.

    One backward pass is compiled for all four.
    """
    points = jnp.stack([jnp.asarray(images), ball.uniform(keys, jnp.asarray(images), radius, norm)])

    def size(case):
        points, by_margin = case

        def loss(logits, labels):
            return jnp.where(by_margin, margin_loss(logits, labels), cross_entropy(logits, labels))

        return ball.size(climb(logits_fn, loss, points, labels)[2], "linf")

    cases = (jnp.concatenate([points, points]), jnp.array([True, True, False, False]))
    return lax.map(size, cases).reshape(2, 2, -1)


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
