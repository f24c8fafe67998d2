"""Projected gradient descent (Madry et al. 2018, arXiv:1706.06083)."""

import jax.numpy as jnp
from jax import Array, lax

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.losses import Loss, resolved, runner_up
from dsrna_jax.attacks.result import AttackResult, checked, climb, example_keys, folded, is_fooled, repeated, result
from dsrna_jax.errors import InputError


def pgd(
    logits_fn,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    radius: Array | float,
    norm: str = "linf",
    steps: int = 20,
    step_size: Array | float | None = None,
    loss: str | Loss = "ce",
    restarts: int = 1,
    random_start: bool = True,
    x_init: Array | None = None,
    target: Array | None = None,
    keep: str = "fooled",
) -> AttackResult:
    """x <- project(x + step_size * direction of the gradient), `steps` times; arguments as in `dsrna_jax.attacks`.

    More radius, steps or restarts never make it weaker by chance alone: restarts and steps are nested.

    Args:
      step_size: a quarter of the radius by default (the 2/255 of 8/255 that the literature uses).
      loss: "ce", "margin", "dlr", or a function (logits, y) -> [batch], which may close over anything.
      restarts: runs from as many random points; the worst of them counts for each example.
      random_start: begin at a point drawn uniformly from the ball, or at x.
      x_init: begin the first run here instead, projected.
      target: [batch] classes to pull towards; default is away from y.
      keep: "fooled": x_adv is the last misclassified point met, and the last point if none was. "last": always the last
        point, as training wants it: that costs no forward pass beyond the gradients.
    """
    x, y = checked(x, y)
    ball.check_norm(norm)
    if keep not in ("fooled", "last"):
        raise InputError(f"keep={keep!r}: expected 'fooled' or 'last'")
    if restarts > 1 and not random_start:
        raise InputError(f"restarts={restarts} without random_start would all be the same: expected random_start=True")
    loss = resolved(loss, target)
    step_size = ball.per_example(jnp.asarray(radius) / 4 if step_size is None else step_size, x)
    keys = example_keys(key, len(x)) if random_start and (x_init is None or restarts > 1) else None

    def seen(points, logits, values, fooling, fooled, best):
        now = is_fooled(logits, y)
        return ball.pick(now, points, fooling), fooled | now, jnp.maximum(best, values)

    def run(restart):
        start = ball.uniform(folded(keys, restart), x, radius, norm) if keys is not None else x
        if x_init is not None:
            start = jnp.where(restart == 0, ball.project(jnp.asarray(x_init, x.dtype), x, radius, norm), start)

        def step(_, state):
            points, *memory = state
            logits, values, gradient = climb(logits_fn, loss, points, y)
            memory = seen(points, logits, values, *memory)
            return ball.project(points + step_size * ball.ascent(gradient, norm), x, radius, norm), *memory

        nothing = (start, jnp.zeros(len(x), bool), jnp.full(len(x), -jnp.inf, x.dtype))
        points, *memory = lax.fori_loop(0, steps, step, (start, *nothing))
        logits = logits_fn(points)
        values = loss(logits, y)
        if keep == "last":
            return result(x, points, is_fooled(logits, y), values, steps, norm)
        fooling, fooled, best = seen(points, logits, values, *memory)
        return result(x, ball.pick(fooled, fooling, points), fooled, best, steps, norm)

    return repeated(run, restarts, x)


def multi_targeted(
    logits_fn, x: Array, y: Array, key: Array | None = None, *, targets: int | None = None, loss: str = "margin", **options
) -> AttackResult:
    """`pgd` on z_t - z_y for every wrong class t, or the `targets` likeliest (Gowal et al. 2019, arXiv:1910.09338).

    The worst of them counts for each example. Options are those of `pgd`; `steps` and `restarts` are for each target.
    """
    x, y = checked(x, y)
    logits = logits_fn(x)
    keys = None if key is None else example_keys(key, len(x))

    def run(i):
        own = None if keys is None else folded(keys, i)
        return pgd(logits_fn, x, y, own, loss=loss, target=runner_up(logits, y, i + 1), **options)

    wrong = logits.shape[1] - 1
    return repeated(run, min(targets or wrong, wrong), x)
