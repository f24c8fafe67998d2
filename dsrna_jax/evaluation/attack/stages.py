"""Members of series that evaluation adds to those of AutoAttack: FGSM, PGD and random noise."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import AttackResult, example_keys, pgd
from dsrna_jax.attacks.ball import uniform
from dsrna_jax.attacks.keys import KeyOrKeys
from dsrna_jax.attacks.losses import cross_entropy, margin_loss
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.attacks.series import AttackStage


def gradient_steps(
    logits_fn: LogitsFn,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int | Array,
    stride: float | Array,
    spread: float | Array,
    by_margin: int | Array,
    is_last: int | Array = 0,
) -> AttackResult:
    """FGSM, PGD of any number of steps and random noise (0 steps) as one program: their differences are traced arguments.

    Args:
      stride: size of a step, in radii.
      spread: size of the random start, in radii.
      by_margin: 1 to climb `margin_loss`, whose direction does not depend on the scale of the logits; 0 for cross-entropy.
      is_last: 1 to count the last point alone; 0 to count any that is misclassified.
    """
    start = images + spread * (uniform(example_keys(key, len(images)), images, radius, norm) - images)

    def loss(logits, labels):
        return jnp.where(by_margin > 0, margin_loss(logits, labels), cross_entropy(logits, labels))

    return pgd(
        logits_fn, images, labels, radius=radius, norm=norm, steps=steps, step_size=stride * radius, loss=loss, x_init=start,
        keep=jnp.asarray(is_last) > 0,
    )  # fmt: skip


def _steps(name, runs=1, steps=1, stride=0.25, spread=1.0, by_margin=0, is_last=0):
    numbers = {"steps": steps, "stride": stride, "spread": spread, "by_margin": by_margin, "is_last": is_last}
    return AttackStage(name, gradient_steps, numbers=tuple(numbers.items()), runs=runs)


def fgsm_stage() -> AttackStage:
    """One step of the radius along the gradient at the image."""
    return _steps("fgsm", stride=1.0, spread=0.0)


def pgd_stage(steps: int, restarts: int = 1, loss: str = "ce", *, is_last: bool = False) -> AttackStage:
    """PGD on "ce" or "margin" in steps of a quarter of the radius; more steps continue fewer."""
    return _steps("pgd", restarts, steps, by_margin=int(loss == "margin"), is_last=int(is_last))


def noise_stage(draws: int) -> AttackStage:
    """Random points of the ball."""
    return _steps("noise", draws, steps=0)
