"""Decoupling direction and norm (Rony et al. 2019, arXiv:1811.09600): a minimum-norm l2 attack of few gradients."""

import jax.numpy as jnp
from jax import Array, lax

from dsrna_jax.attacks import ball, nearest
from dsrna_jax.attacks.losses import Loss, resolved
from dsrna_jax.attacks.result import AttackResult, checked, climb, is_fooled


def ddn(
    logits_fn,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    radius: Array | float = jnp.inf,
    norm: str = "l2",
    steps: int = 100,
    loss: str | Loss = "ce",
    target: Array | None = None,
    initial_size: float = 1.0,
    shrink: float = 0.05,
) -> AttackResult:
    """The nearest misclassified point that `steps` gradients find; arguments as in `dsrna_jax.attacks`; draws nothing.

    Each step goes along the gradient by a cosine schedule from 1 to 0.01, and is then put on a sphere that shrinks by `shrink`
    where the point was misclassified and grows by it elsewhere. A success counts if it lies within `radius`.

    Args:
      initial_size: radius of the first sphere.
    """
    x, y = checked(x, y)
    ball.check_norm(norm, ("l2",))
    loss = resolved(loss, target)

    def step(i, state):
        delta, sphere, found = state
        logits, _, gradient = climb(logits_fn, loss, x + delta, y)
        fooled = is_fooled(logits, y)
        found = nearest.after(found, x + delta, fooled, x, norm)
        sphere = sphere * jnp.where(fooled, 1 - shrink, 1 + shrink)
        rate = 0.01 + 0.99 * (1 + jnp.cos(jnp.pi * i / steps)) / 2
        delta = ball.unit(delta + rate.astype(x.dtype) * ball.unit(gradient, norm), norm)
        return jnp.clip(x + delta * ball.per_example(sphere, x), 0, 1) - x, sphere, found

    start = (jnp.zeros_like(x), jnp.full(len(x), initial_size, x.dtype), nearest.none(x))
    delta, _, found = lax.fori_loop(0, steps, step, start)
    found = nearest.after(found, x + delta, is_fooled(logits_fn(x + delta), y), x, norm)
    return nearest.within(found, radius, x, steps, norm)
