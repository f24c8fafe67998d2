"""Auto-PGD (Croce and Hein 2020, arXiv:2003.01690): PGD with momentum and a step size that each example finds by itself."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.losses import Loss, resolved, runner_up
from dsrna_jax.attacks.result import AttackResult, checked, climb, example_keys, folded, is_fooled, repeated, result
from dsrna_jax.errors import InputError


class _State(NamedTuple):
    """Everything [batch, ...]: where each example is, its best point (highest loss) so far and the last that fooled."""

    x: Array
    x_before: Array
    gradient: Array
    best: Array
    best_gradient: Array
    best_loss: Array
    fooling: Array
    fooled: Array
    step_size: Array
    loss: Array  # of the step before
    rises: Array  # steps since the last check in which the loss rose
    checked_loss: Array  # the best loss at the last check
    was_reduced: Array  # whether the last check halved the step


def apgd(
    logits_fn,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    radius: Array | float,
    norm: str = "linf",
    steps: int = 100,
    loss: str | Loss = "ce",
    restarts: int = 1,
    x_init: Array | None = None,
    target: Array | None = None,
    rho: float = 0.75,
    draws: int = 1,
) -> AttackResult:
    """Auto-PGD, as the authors' PyTorch code has it; arguments as in `dsrna_jax.attacks`.

    From the same start the same examples fall, and the highest cross-entropy agrees but for rounding. Below some 30 steps
    the step size shrinks too soon for a strong attack. `x_adv` is the last misclassified point, else that of highest loss.

    Args:
      loss: "ce", "dlr" (3 classes or more; 4 with `target`), "margin", or a function (logits, y) -> [batch].
      restarts: runs from as many random starts, on the sphere of that radius; the worst of them counts for each example.
      x_init: the first run starts here instead, only cut to the box.
      target: [batch] classes to pull towards.
      rho: the step is halved where fewer than this share of the steps since the last check raised the loss.
      draws: gradients averaged in each step, for networks that are random themselves: with draws > 1 the call is
        `logits_fn(x, key)`, with one key for the whole batch.
    """
    x, y = checked(x, y)
    ball.check_norm(norm)
    if steps < 1 or draws < 1:
        raise InputError(f"steps={steps}, draws={draws}: expected at least 1")
    loss, (is_check, windows) = resolved(loss, target), _schedule(steps)
    keys = example_keys(key, len(x)) if x_init is None or restarts > 1 or draws > 1 else None

    def run(restart):
        start = ball.on_sphere(folded(keys, restart), x, radius, norm) if x_init is None or restarts > 1 else x
        if x_init is not None:
            start = jnp.where(restart == 0, jnp.clip(jnp.asarray(x_init, x.dtype), 0, 1), start)

        def climbed(points, step):
            if draws == 1:
                return climb(logits_fn, loss, points, y)

            def draw(i):
                return climb(lambda x: logits_fn(x, folded(folded(keys[0], restart), step * draws + i)), loss, points, y)

            logits, values, gradients = lax.map(draw, jnp.arange(draws))
            return logits[-1], values[-1], gradients.mean(0)

        def step(i, s):
            points = _moved(s, x, radius, norm, jnp.where(i > 0, 0.75, 1.0).astype(x.dtype))
            logits, values, gradient = climbed(points, i + 1)
            now, is_better = is_fooled(logits, y), values > s.best_loss
            s = s._replace(
                x=points,
                x_before=s.x,
                gradient=gradient,
                fooling=ball.pick(now, points, s.fooling),
                fooled=s.fooled | now,
                best=ball.pick(is_better, points, s.best),
                best_gradient=ball.pick(is_better, gradient, s.best_gradient),
                best_loss=jnp.where(is_better, values, s.best_loss),
                loss=values,
                rises=s.rises + (values > s.loss),
            )
            return lax.cond(jnp.asarray(is_check)[i], lambda s: _adapted(s, rho * jnp.asarray(windows)[i]), lambda s: s, s)

        logits, values, gradient = climbed(start, 0)
        none = jnp.zeros(len(x), x.dtype)
        s = _State(
            x=start,
            x_before=start,
            gradient=gradient,
            best=start,
            best_gradient=gradient,
            best_loss=values,
            fooling=start,
            fooled=is_fooled(logits, y),
            step_size=none + 2 * jnp.asarray(radius, x.dtype),
            loss=none,  # the first step rises if its loss is positive: so it is in the published code
            rises=none,
            checked_loss=values,
            was_reduced=jnp.ones(len(x), bool),
        )
        s = lax.fori_loop(0, steps, step, s)
        return result(x, ball.pick(s.fooled, s.fooling, s.best), s.fooled, s.best_loss, (steps + 1) * draws, norm)

    return repeated(run, restarts, x)


def apgd_t(logits_fn, x: Array, y: Array, key: Array, *, targets: int = 9, loss: str = "dlr", **options) -> AttackResult:
    """`apgd` towards each of the `targets` classes that the network finds likeliest beside y, one after the other.

    With fewer classes, as many as there are. The targeted dlr needs 4 classes; options are those of `apgd`.
    """
    x, y = checked(x, y)
    logits, keys = logits_fn(x), example_keys(key, len(x))

    def run(i):
        target = runner_up(logits, y, i + 1)
        return apgd(logits_fn, x, y, folded(keys, i), loss=loss, target=target, **options)

    return repeated(run, min(targets, logits.shape[1] - 1), x)


def _schedule(steps):
    """For each step whether the step size is checked after it, and how many steps the check looks back upon."""
    window, shortest, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    is_check, windows, since = np.zeros(steps, bool), np.zeros(steps, np.float32), 0
    for i in range(steps):
        since += 1
        if since == window:
            is_check[i], windows[i] = True, window
            window, since = max(window - shrink, shortest), 0
    return is_check, windows


def _moved(s, x, radius, norm, momentum):
    """The next point: a projected step, averaged with the direction of the last one, projected again."""
    step = ball.per_example(s.step_size, x) * ball.ascent(s.gradient, norm)
    ahead = ball.project(s.x + step, x, radius, norm)
    inertia = s.x - s.x_before
    return ball.project(s.x + (ahead - s.x) * momentum + inertia * (1 - momentum), x, radius, norm)


def _adapted(s, wanted_rises):
    """Where the loss rose too seldom, or nothing came of the last check: half the step, from the best point on."""
    is_stuck = ~s.was_reduced & (s.checked_loss >= s.best_loss)
    reduce = (s.rises <= wanted_rises) | is_stuck
    return s._replace(
        x=ball.pick(reduce, s.best, s.x),
        gradient=ball.pick(reduce, s.best_gradient, s.gradient),
        step_size=jnp.where(reduce, s.step_size / 2, s.step_size),
        was_reduced=reduce,
        checked_loss=s.best_loss,
        rises=jnp.zeros_like(s.rises),
    )
