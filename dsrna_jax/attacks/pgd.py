"""Projected gradient descent (Madry et al. 2018, arXiv:1706.06083)."""

import functools

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.losses import Loss, resolved
from dsrna_jax.attacks.result import AttackResult, LogitsFn, climb, is_fooled, known_loss, repeated, result
from dsrna_jax.attacks.targets import towards_each
from dsrna_jax.errors import InputError


@on_checked_inputs
def pgd(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int | Array = 20,
    step_size: ArrayLike | None = None,
    loss: str | Loss = "ce",
    restarts: int = 1,
    random_start: bool = True,
    x_init: Float[ArrayLike, "batch *image"] | None = None,
    target: Int[Array, " batch"] | None = None,
    keep: str | Array = "fooled",
) -> AttackResult:
    """x <- project(x + step_size * direction of the gradient), `steps` times; arguments as in `dsrna_jax.attacks`.

    More steps or restarts never lose a success (with `keep="fooled"`): they go on from the same points and draws.

    Args:
      steps: may be traced.
      step_size: by default a quarter of the radius, which for 8/255 is the 2/255 of the literature.
      loss: "ce", "margin" (minus the margin), "dlr", or a function (logits, labels) -> [batch], which may close over anything.
      restarts: runs from as many random points; the worst of them counts for each example.
      random_start: begin at a point drawn uniformly from the ball, rather than at the image.
      x_init: the first run begins here instead, projected.
      target: classes to pull towards; by default away from the label.
      keep: "fooled" for the last misclassified point as x_adv, and the last point if there is none; "last" for the last point
        always, as in adversarial training, so that a success is one of the last point. Or a truth value, which may be traced:
        whether it is "last".
    Raises: InputError, as all attacks, and for restarts without random starts.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if keep is None or (isinstance(keep, str) and keep not in ("fooled", "last")):
        raise InputError(f"keep={keep!r}: expected 'fooled' or 'last'")
    if restarts > 1 and not random_start:
        raise InputError(f"restarts={restarts} without random_start would all be the same: expected random_start=True")
    loss = resolved(loss, target)
    step_size = ball.per_example(jnp.asarray(radius) / 4 if step_size is None else step_size, images)
    keys = example_keys(key, len(images)) if random_start and (x_init is None or restarts > 1) else None

    def seen(points, logits, values, fooling, fooled, best):
        now = is_fooled(logits, labels)
        return ball.pick(now, points, fooling), fooled | now, jnp.maximum(best, values)

    def run(restart):
        start = ball.uniform(folded(keys, restart), images, radius, norm) if keys is not None else images
        start = ball.begun_at(x_init, restart, start, images, radius, norm)

        def step(_, state):
            points, *memory = state
            logits, values, gradient = climb(logits_fn, loss, points, labels)
            memory = seen(points, logits, values, *memory)
            return ball.project(points + step_size * ball.ascent(gradient, norm), images, radius, norm), *memory

        nothing = (start, jnp.zeros(len(images), bool), jnp.full(len(images), -jnp.inf, images.dtype))
        points, *memory = lax.fori_loop(0, steps, step, (start, *nothing))
        logits = logits_fn(points)
        values = known_loss(loss(logits, labels))
        now = is_fooled(logits, labels)
        if isinstance(keep, str) and keep == "last":
            return result(images, points, now, values, steps, norm)
        fooling, fooled, best = seen(points, logits, values, *memory)
        kept = ball.pick(fooled, fooling, points)
        if not isinstance(keep, str):
            kept, fooled = jnp.where(keep, points, kept), jnp.where(keep, now, fooled)
            best = jnp.where(keep, values, best)
        return result(images, kept, fooled, best, steps, norm)

    return repeated(run, restarts, images)


@on_checked_inputs
def multi_targeted(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int = 20,
    targets: int | None = None,
    step_size: ArrayLike | None = None,
    loss: str = "margin",
    restarts: int = 1,
    random_start: bool = True,
) -> AttackResult:
    """`pgd` on z_t - z_label for every wrong class t, or the `targets` likeliest (Gowal et al. 2019, arXiv:1910.09338).

    The worst of them counts for each example. The other options are those of `pgd`; `steps` and `restarts` are for each target.
    """
    attack = functools.partial(
        pgd, radius=radius, norm=norm, steps=steps, step_size=step_size, loss=loss, restarts=restarts, random_start=random_start
    )
    return towards_each(attack, targets, logits_fn, images, labels, key)
