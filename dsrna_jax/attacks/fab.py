"""Fast adaptive boundary attack (Croce and Hein 2020, arXiv:1907.02044): a minimum-norm attack for linf and l2."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsrna_jax.attacks import ball, nearest
from dsrna_jax.attacks.losses import of_class, runner_up
from dsrna_jax.attacks.result import AttackResult, checked, example_keys, folded, is_fooled, repeated


def fab(
    logits_fn,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    radius: Array | float = jnp.inf,
    norm: str = "linf",
    steps: int = 100,
    restarts: int = 1,
    target: Array | None = None,
    largest_bias: float = 0.1,
    overshoot: float = 1.05,
    backward: float = 0.9,
) -> AttackResult:
    """The nearest misclassified point that FAB finds; arguments as in `dsrna_jax.attacks`. A success counts within `radius`.

    Each step linearises the decision boundary, projects the point and the original onto it inside the box, and goes to a mean of
    the two; from a misclassified point it then draws back towards the original. The first run starts at x; others at random,
    half a radius away (of 0.3, or 1 for l2, if `radius` is infinite). `steps` of the result counts gradients.

    Args:
      target: [batch], the only class whose boundary is tried; default are all, at one gradient each.
      largest_bias, overshoot, backward: alpha_max, eta and beta of the paper.
    """
    x, y = checked(x, y)
    ball.check_norm(norm)
    keys = example_keys(key, len(x)) if restarts > 1 else None
    reach = jnp.where(jnp.isinf(radius), {"linf": 0.3, "l2": 1.0}[norm], radius)
    classes = jax.eval_shape(logits_fn, x).shape[1]

    def step(_, state):
        points, found = state
        difference, gradient = _nearest_boundary(logits_fn, points, y, target, classes, norm)
        offset = (gradient * points).reshape(len(x), -1).sum(1) - difference
        near = to_plane(points, gradient, offset, norm)
        far = to_plane(x, gradient, offset, norm)
        sizes = [jnp.maximum(ball.size(d, norm), 1e-8) for d in (near, far)]
        bias = ball.per_example(jnp.minimum(sizes[0] / (sizes[0] + sizes[1]), largest_bias), x)
        points = jnp.clip((1 - bias) * (points + overshoot * near) + bias * (x + overshoot * far), 0, 1)
        fooled = is_fooled(logits_fn(points), y)
        found = nearest.after(found, points, fooled, x, norm)
        return ball.pick(fooled, x + (points - x) * backward, points), found

    nothing = nearest.after(nearest.none(x), x, is_fooled(logits_fn(x), y), x, norm)

    def run(restart):
        start = x
        if keys is not None:
            random = ball.on_sphere(folded(keys, restart), x, reach / 2, norm)
            start = jnp.where(restart == 0, x, random)
        _, found = lax.fori_loop(0, steps, step, (start, nothing))
        return nearest.within(found, radius, x, steps * (1 if target is not None else classes), norm)

    return repeated(run, restarts, x)


def fab_t(logits_fn, x: Array, y: Array, key: Array | None = None, *, targets: int = 9, **options) -> AttackResult:
    """`fab` towards each of the `targets` classes that the network finds likeliest beside y; options are those of `fab`."""
    x, y = checked(x, y)
    logits = logits_fn(x)
    keys = None if key is None else example_keys(key, len(x))

    def run(i):
        own = None if keys is None else folded(keys, i)
        return fab(logits_fn, x, y, own, target=runner_up(logits, y, i + 1), **options)

    return repeated(run, min(targets, logits.shape[1] - 1), x)


def _nearest_boundary(logits_fn, points, y, target, classes, norm):
    """z_t - z_y [batch] and its gradient [batch, ...], for the target or for the class whose linearised boundary is nearest."""
    logits, pullback = jax.vjp(logits_fn, points)

    def towards(t):
        probe = jax.nn.one_hot(t, classes, dtype=logits.dtype) - jax.nn.one_hot(y, classes, dtype=logits.dtype)
        return of_class(logits, t) - of_class(logits, y), pullback(probe)[0]

    if target is not None:
        return towards(target)
    dual = {"linf": lambda g: jnp.abs(g).reshape(len(g), -1).sum(1), "l2": lambda g: ball.size(g, "l2")}[norm]

    def nearer(best, t):
        t = jnp.full(len(y), t)
        difference, gradient = towards(t)
        distance = jnp.where(t == y, jnp.inf, jnp.abs(difference) / (1e-12 + dual(gradient)))
        is_nearer = distance < best[0]
        new = (distance, difference, gradient)
        return tuple(ball.pick(is_nearer, n, b) for n, b in zip(new, best, strict=True)), None

    nothing = (jnp.full(len(y), jnp.inf, logits.dtype), jnp.zeros(len(y), logits.dtype), jnp.zeros_like(points))
    return lax.scan(nearer, nothing, jnp.arange(classes))[0][1:]


def to_plane(points: Array, normal: Array, offset: Array, norm: str, iterations: int = 20) -> Array:
    """The smallest step [batch, ...] from `points` in the box to the plane <normal, .> = offset [batch], inside the box.

    Where the plane misses the box, the step to the corner nearest to it. All pixels move at once, |sign(w)| (linf) or |w| (l2)
    per unit of time, until each meets its wall; the time needed is the root of a concave, piecewise linear function, which
    Newton's method meets from below and exactly, in a handful of iterations, with no sort.
    """
    missing = offset - (normal * points).reshape(len(points), -1).sum(1)
    w = normal * jnp.where(missing >= 0, 1, -1).reshape(-1, *[1] * (points.ndim - 1)).astype(points.dtype)
    room = jnp.where(w > 0, 1 - points, points)
    speed = jnp.abs(jnp.sign(w)) if norm == "linf" else jnp.abs(w)

    def total(values):
        return values.reshape(len(values), -1).sum(1)

    def newton(_, time):
        moved = speed * ball.per_example(time, points)
        is_free = moved < room
        gained, slope = total(jnp.abs(w) * jnp.minimum(moved, room)), total(jnp.where(is_free, jnp.abs(w) * speed, 0))
        ahead = (jnp.abs(missing) - gained) / jnp.where(slope > 0, slope, 1)
        return jnp.where(slope > 0, time + jnp.maximum(ahead, 0), time)

    time = lax.fori_loop(0, iterations, newton, jnp.zeros_like(missing))
    return jnp.sign(w) * jnp.minimum(speed * ball.per_example(time, points), room)
