"""Fast gradient sign method (Goodfellow et al. 2015), and its random start (Wong et al. 2020, arXiv:2001.03994)."""

import jax.numpy as jnp
from jax import Array

from dsrna_jax.attacks.losses import Loss
from dsrna_jax.attacks.pgd import pgd
from dsrna_jax.attacks.result import AttackResult


def fgsm(
    logits_fn,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    radius: Array | float,
    norm: str = "linf",
    loss: str | Loss = "ce",
    random_start: bool = False,
    step_size: Array | float | None = None,
    target: Array | None = None,
) -> AttackResult:
    """One step to the surface of the ball: x + radius * sign(gradient) for linf; arguments as in `dsrna_jax.attacks`.

    With `random_start` it is the attack of "Fast is better than free": a uniform start, and a step of 1.25 radius.
    """
    if step_size is None:
        step_size = jnp.asarray(radius) * (1.25 if random_start else 1.0)
    options = {"random_start": random_start, "step_size": step_size, "target": target, "keep": "last"}
    return pgd(logits_fn, x, y, key, radius=radius, norm=norm, steps=1, loss=loss, **options)
