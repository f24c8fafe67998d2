"""Decoupling direction and norm (Rony et al. 2019, arXiv:1811.09600): a minimum-norm l2 attack of few gradients."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball, nearest
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys
from dsrna_jax.attacks.losses import Loss, resolved
from dsrna_jax.attacks.result import AttackResult, LogitsFn, climb, is_fooled


@on_checked_inputs
def ddn(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike = jnp.inf,
    norm: str = "l2",
    steps: int = 100,
    loss: str | Loss = "ce",
    target: Int[Array, " batch"] | None = None,
    initial_size: float = 1.0,
    shrink: float = 0.05,
) -> AttackResult:
    """The nearest misclassified point that `steps` gradients find; arguments as in `dsrna_jax.attacks`; draws nothing.

    Each step moves along the unit gradient, by a cosine schedule from 1 to 0.01, then onto a sphere around the image whose radius
    shrinks by the share `shrink` where the point was misclassified and grows by it elsewhere. A success counts within `radius`.

    Args:
      norm: "l2", the only one.
      loss: as in `pgd`.
      initial_size: radius of the first sphere.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    ball.check_norm(norm, ("l2",))
    loss = resolved(loss, target)

    def step(i, state):
        delta, sphere, best = state
        logits, _, gradient = climb(logits_fn, loss, images + delta, labels)
        fooled = is_fooled(logits, labels)
        best = nearest.after(best, images + delta, fooled, images, norm)
        sphere = sphere * jnp.where(fooled, 1 - shrink, 1 + shrink)
        rate = 0.01 + 0.99 * (1 + jnp.cos(jnp.pi * i / steps)) / 2
        delta = ball.unit(delta + rate.astype(images.dtype) * ball.unit(gradient, norm), norm)
        return jnp.clip(images + delta * ball.per_example(sphere, images), 0, 1) - images, sphere, best

    start = (jnp.zeros_like(images), jnp.full(len(images), initial_size, images.dtype), nearest.none(images))
    delta, _, best = lax.fori_loop(0, steps, step, start)
    best = nearest.after(best, images + delta, is_fooled(logits_fn(images + delta), labels), images, norm)
    return nearest.within(best, radius, images, steps, norm)
