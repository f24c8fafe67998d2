"""Auto-PGD (Croce and Hein 2020, arXiv:2003.01690): PGD with momentum and a step size adapted for each example."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.losses import Loss, dlr_or_margin, resolved
from dsrna_jax.attacks.result import AttackResult, LogitsFn, climb, is_fooled, repeated, result
from dsrna_jax.attacks.targets import towards_each
from dsrna_jax.errors import InputError


class _AscentState(NamedTuple):
    """The state of every example, [batch, ...]."""

    points: Array
    points_before: Array
    gradient: Array  # at the points
    best: Array  # the point of highest loss so far
    best_gradient: Array
    best_loss: Array
    fooling: Array  # the last misclassified point
    fooled: Array  # whether there is one
    step_size: Array
    loss: Array  # of the step before
    rises: Array  # steps since the last check in which the loss rose
    checked_loss: Array  # the best loss at the last check
    was_reduced: Array  # whether the last check halved the step


@on_checked_inputs
def apgd(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int = 100,
    loss: str | Loss = "ce",
    restarts: int = 1,
    x_init: Float[ArrayLike, "batch *image"] | None = None,
    target: Int[Array, " batch"] | None = None,
    rho: float = 0.75,
    draws: int = 1,
) -> AttackResult:
    """Auto-PGD; arguments as in `dsrna_jax.attacks`.

    From the same starting points the authors' PyTorch code fools the same examples and reaches the same highest cross-entropy,
    up to rounding. With fewer than about 30 steps the step size shrinks too early for a strong attack. `x_adv` is the last
    misclassified point, else that of highest loss.

    Args:
      loss: "ce", "dlr" (3 classes or more; 4 with `target`), "margin" (minus the margin), or a function of
        logits and labels.
      restarts: runs from as many random starts, on the sphere of the radius; the worst of them counts for each example.
      x_init: the first run begins here instead, projected (the published code only cuts it to the box).
      target: classes to pull towards; by default away from the label.
      rho: the step size is halved where at most this share of the steps since the last check raised the loss.
      draws: gradients averaged in each step, for stochastic networks: with draws > 1 the call is `logits_fn(images, key)`, with
        one key for the whole batch.
    Raises: InputError, as all attacks, and for less than one step.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if steps < 1 or draws < 1:
        raise InputError(f"steps={steps}, draws={draws}: expected at least 1")
    loss, (is_check, windows) = resolved(loss, target), _schedule(steps)
    keys: Any = example_keys(key, len(images)) if x_init is None or restarts > 1 or draws > 1 else None

    def run(restart):
        start = ball.on_sphere(folded(keys, restart), images, radius, norm) if x_init is None or restarts > 1 else images
        start = ball.begun_at(x_init, restart, start, images, radius, norm)

        def climbed(points, step):
            if draws == 1:
                return climb(logits_fn, loss, points, labels)

            def draw(i):
                draw_key = folded(folded(keys[0], restart), step * draws + i)
                return climb(lambda points: logits_fn(points, draw_key), loss, points, labels)

            logits, values, gradients = lax.map(draw, jnp.arange(draws))
            return logits[-1], values[-1], gradients.mean(0)

        def step(i, state):
            points = _moved(state, images, radius, norm, jnp.where(i > 0, 0.75, 1.0).astype(images.dtype))
            logits, values, gradient = climbed(points, i + 1)
            state = _stepped(state, points, is_fooled(logits, labels), values, gradient)
            few_rises = rho * jnp.asarray(windows)[i]
            return lax.cond(jnp.asarray(is_check)[i], lambda s: _adapted(s, few_rises), lambda s: s, state)

        logits, values, gradient = climbed(start, 0)
        sizes = jnp.zeros(len(images), images.dtype) + 2 * jnp.asarray(radius, images.dtype)
        state = lax.fori_loop(0, steps, step, _first_state(start, is_fooled(logits, labels), values, gradient, sizes))
        x_adv = ball.pick(state.fooled, state.fooling, state.best)
        return result(images, x_adv, state.fooled, state.best_loss, (steps + 1) * draws, norm)

    return repeated(run, restarts, images)


@on_checked_inputs
def apgd_t(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int = 100,
    targets: int = 9,
    loss: str | None = None,
    restarts: int = 1,
    rho: float = 0.75,
) -> AttackResult:
    """`apgd` towards each of the `targets` likeliest wrong classes, or towards all if there are fewer.

    The worst of them counts for each example. By default the loss is the targeted dlr, which needs 4 classes, or with fewer the
    margin; the other options are those of `apgd`, for each target.
    """
    if loss is None:
        loss = dlr_or_margin(jax.eval_shape(logits_fn, images).shape[1], is_targeted=True)
    attack = functools.partial(apgd, radius=radius, norm=norm, steps=steps, loss=loss, restarts=restarts, rho=rho)
    return towards_each(attack, targets, logits_fn, images, labels, key)


def _schedule(steps):
    """Is the step size checked after each step (bool [steps]), and if so, how many steps after the last check (float [steps])."""
    window, shortest, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    is_check, windows, since = np.zeros(steps, bool), np.zeros(steps, np.float32), 0
    for i in range(steps):
        since += 1
        if since == window:
            is_check[i], windows[i] = True, window
            window, since = max(window - shrink, shortest), 0
    return is_check, windows


def _first_state(start, fooled, values, gradient, step_size) -> _AscentState:
    none = jnp.zeros_like(step_size)
    return _AscentState(
        points=start,
        points_before=start,
        gradient=gradient,
        best=start,
        best_gradient=gradient,
        best_loss=values,
        fooling=start,
        fooled=fooled,
        step_size=step_size,
        loss=none,  # the first step rises if its loss is positive: so it is in the published code
        rises=none,
        checked_loss=values,
        was_reduced=jnp.ones(len(none), bool),
    )


def _stepped(state, points, fooled, values, gradient) -> _AscentState:
    """The state at new points, which fool the network or not, with their loss and its gradient."""
    is_better = values > state.best_loss
    return state._replace(
        points=points,
        points_before=state.points,
        gradient=gradient,
        fooling=ball.pick(fooled, points, state.fooling),
        fooled=state.fooled | fooled,
        best=ball.pick(is_better, points, state.best),
        best_gradient=ball.pick(is_better, gradient, state.best_gradient),
        best_loss=jnp.where(is_better, values, state.best_loss),
        loss=values,
        rises=state.rises + (values > state.loss),
    )


def _moved(state, images, radius, norm, momentum):
    """The next point: a projected step, averaged with the direction of the last one, projected again."""
    step = ball.per_example(state.step_size, images) * ball.ascent(state.gradient, norm)
    ahead = ball.project(state.points + step, images, radius, norm)
    inertia = state.points - state.points_before
    return ball.project(state.points + (ahead - state.points) * momentum + inertia * (1 - momentum), images, radius, norm)


def _adapted(state, few_rises):
    """The state after a check: half the step size, from the best point, if the loss rose too seldom or has no new best."""
    is_stuck = ~state.was_reduced & (state.checked_loss >= state.best_loss)
    reduce = (state.rises <= few_rises) | is_stuck
    return state._replace(
        points=ball.pick(reduce, state.best, state.points),
        gradient=ball.pick(reduce, state.best_gradient, state.gradient),
        step_size=jnp.where(reduce, state.step_size / 2, state.step_size),
        was_reduced=reduce,
        checked_loss=state.best_loss,
        rises=jnp.zeros_like(state.rises),
    )
