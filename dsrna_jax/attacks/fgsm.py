"""Fast gradient sign method (Goodfellow et al. 2015), and its random start (Wong et al. 2020, arXiv:2001.03994)."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys
from dsrna_jax.attacks.losses import Loss
from dsrna_jax.attacks.pgd import pgd
from dsrna_jax.attacks.result import AttackResult, LogitsFn


@on_checked_inputs
def fgsm(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    loss: str | Loss = "ce",
    random_start: bool = False,
    step_size: ArrayLike | None = None,
    target: Int[Array, " batch"] | None = None,
) -> AttackResult:
    """One step to the surface of the ball, images + radius * sign(gradient) for linf; arguments as in `dsrna_jax.attacks`.

    Args:
      random_start: begin at a point drawn uniformly from the ball, and step by 1.25 radius, as "Fast is better than free" does.
        Off by default, unlike in `pgd`: the method as published steps from the image.
      step_size: the radius by default, or 1.25 of it from a random start.
    """
    if step_size is None:
        step_size = jnp.asarray(radius) * (1.25 if random_start else 1.0)
    return pgd(
        logits_fn, images, labels, key, radius=radius, norm=norm, steps=1, step_size=step_size, loss=loss,
        random_start=random_start, target=target, keep="last",
    )  # fmt: skip
