"""The l2 attack of Carlini and Wagner (2017, arXiv:1608.04644), with a binary search of the constant for each example."""

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball, nearest
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys
from dsrna_jax.attacks.losses import resolved
from dsrna_jax.attacks.result import AttackResult, LogitsFn, finite, is_fooled

CW_PRESETS = {
    "paper60": {"steps": 60, "searches": 9, "rate": 0.01, "constant": 1e-2, "confidence": 0.0},
    "strong": {"steps": 100, "searches": 9, "rate": 0.1, "constant": 1e-2, "confidence": 0.0},
}
"""Named budgets: `cw(..., **CW_PRESETS["strong"])`. "60 iterations" of papers leave open the rate and the constants tried."""


@on_checked_inputs
def cw(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike = jnp.inf,
    norm: str = "l2",
    steps: int = 100,
    searches: int = 9,
    rate: float = 0.1,
    constant: float = 1e-2,
    confidence: float = 0.0,
    target: Int[Array, " batch"] | None = None,
) -> AttackResult:
    """The nearest misclassified point that C&W finds; arguments as in `dsrna_jax.attacks`; draws nothing.

    Minimises ||x' - x||^2 + c * max(confidence + margin, 0) by Adam over w, where x' = (tanh(w) + 1) / 2. A binary search finds c
    for each example: ten times as large until it succeeds, then the middle between the largest c that failed and the smallest
    that succeeded. All steps are taken: a batch is not abandoned when its summed loss stalls, as in the authors' code. A success
    counts within `radius`.

    Args:
      norm: "l2", the only one.
      steps: of Adam for each c.
      searches: number of values of c.
      rate: learning rate of Adam.
      constant: the first c.
      confidence: kappa, the margin by which a wrong class must win for c to count as successful; x_adv may be any misclassified
        point.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    ball.check_norm(norm, ("l2",))
    margin_loss, adam = resolved("margin", target), optax.adam(rate)
    origin = jnp.arctanh((2 * images - 1) * (1 - 1e-6))

    def objective(w, c):
        points = (jnp.tanh(w) + 1) / 2
        logits = logits_fn(points)
        values = margin_loss(logits, labels)
        distance = jnp.square(points - images).reshape(len(images), -1).sum(1)
        return (distance + c * jnp.maximum(confidence - values, 0)).sum(), (points, logits, values)

    def search(_, state):
        c, low, high, best = state

        def step(_, inner):
            w, moments, succeeded, best = inner
            gradient, (points, logits, values) = jax.grad(objective, has_aux=True)(w, c)
            fooled = is_fooled(logits, labels)
            best = nearest.after(best, points, fooled, images, norm)
            change, moments = adam.update(finite(gradient), moments)
            # Where the confidence is not reached yet, c must grow, although the point counts.
            return w + change, moments, succeeded | fooled & (values >= confidence), best

        start = (origin, adam.init(origin), jnp.zeros(len(images), bool), best)
        *_, succeeded, best = lax.fori_loop(0, steps, step, start)
        low, high = jnp.where(succeeded, low, c), jnp.where(succeeded, c, high)
        return jnp.where(jnp.isinf(high), 10 * c, (low + high) / 2), low, high, best

    first = jnp.full(len(images), constant, images.dtype)
    clean = nearest.after(nearest.none(images), images, is_fooled(logits_fn(images), labels), images, norm)
    start = (first, jnp.zeros_like(first), jnp.full_like(first, jnp.inf), clean)
    best = lax.fori_loop(0, searches, search, start)[-1]
    return nearest.within(best, radius, images, steps * searches, norm)
