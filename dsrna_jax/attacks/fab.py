"""Fast adaptive boundary attack (Croce and Hein 2020, arXiv:1907.02044): a minimum-norm attack for linf and l2."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball, nearest
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.result import AttackResult, LogitsFn, is_fooled, repeated
from dsrna_jax.attacks.targets import towards_each
from dsrna_jax.losses import of_class


@on_checked_inputs
def fab(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike = jnp.inf,
    norm: str = "linf",
    steps: int = 100,
    restarts: int = 1,
    target: Int[Array, " batch"] | None = None,
    largest_bias: float = 0.1,
    overshoot: float = 1.05,
    backward: float = 0.9,
) -> AttackResult:
    """The nearest misclassified point that FAB finds; arguments as in `dsrna_jax.attacks`. A success counts within `radius`.

    Each step linearises the decision boundary, projects the point and the image onto it inside the box, and goes to a mean of the
    two; from a misclassified point it then draws back towards the image. The first run starts at the image, others at random,
    half a radius away (of 0.3, or 1 for l2, if `radius` is infinite). `steps` of the result counts gradients.

    Args:
      target: the only class whose boundary is tried; by default all are, at one gradient each.
      largest_bias, overshoot, backward: alpha_max, eta and beta of the paper.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    keys = example_keys(key, len(images)) if restarts > 1 else None
    reach = jnp.where(jnp.isinf(radius), {"linf": 0.3, "l2": 1.0}[norm], radius)
    classes = jax.eval_shape(logits_fn, images).shape[1]

    def step(_, state):
        points, best = state
        difference, gradient = _nearest_boundary(logits_fn, points, labels, target, classes, norm)
        offset = _total(gradient * points) - difference
        near = to_plane(points, gradient, offset, norm)
        far = to_plane(images, gradient, offset, norm)
        sizes = [jnp.maximum(ball.size(d, norm), 1e-8) for d in (near, far)]
        bias = ball.per_example(jnp.minimum(sizes[0] / (sizes[0] + sizes[1]), largest_bias), images)
        moved = jnp.clip((1 - bias) * (points + overshoot * near) + bias * (images + overshoot * far), 0, 1)
        points = jnp.where(jnp.isnan(moved), points, moved)  # there is no plane to a class that -inf masks
        fooled = is_fooled(logits_fn(points), labels)
        best = nearest.after(best, points, fooled, images, norm)
        return ball.pick(fooled, images + (points - images) * backward, points), best

    clean = nearest.after(nearest.none(images), images, is_fooled(logits_fn(images), labels), images, norm)

    def run(restart):
        start = images
        if keys is not None:
            random = ball.on_sphere(folded(keys, restart), images, reach / 2, norm)
            start = jnp.where(restart == 0, images, random)
        _, best = lax.fori_loop(0, steps, step, (start, clean))
        return nearest.within(best, radius, images, steps * (1 if target is not None else classes), norm)

    return repeated(run, restarts, images)


@on_checked_inputs
def fab_t(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike = jnp.inf,
    norm: str = "linf",
    steps: int = 100,
    targets: int = 9,
    restarts: int = 1,
) -> AttackResult:
    """`fab` towards each of the `targets` likeliest wrong classes; the other options are those of `fab`, for each target."""
    attack = functools.partial(fab, radius=radius, norm=norm, steps=steps, restarts=restarts)
    return towards_each(attack, targets, logits_fn, images, labels, key)


def _nearest_boundary(logits_fn, points, labels, target, classes, norm):
    """z_t - z_label [batch] and its gradient [batch, ...], t being the target or the class of the nearest linearised boundary."""
    logits, pullback = jax.vjp(logits_fn, points)

    def towards(t):
        probe = jax.nn.one_hot(t, classes, dtype=logits.dtype) - jax.nn.one_hot(labels, classes, dtype=logits.dtype)
        return of_class(logits, t) - of_class(logits, labels), pullback(probe)[0]

    if target is not None:
        return towards(target)
    dual = {"linf": lambda g: jnp.abs(g).reshape(len(g), -1).sum(1), "l2": lambda g: ball.size(g, "l2")}[norm]

    def nearer(best, t):
        t = jnp.full(len(labels), t)
        difference, gradient = towards(t)
        distance = jnp.where(t == labels, jnp.inf, jnp.abs(difference) / (1e-12 + dual(gradient)))
        is_nearer = distance < best[0]
        new = (distance, difference, gradient)
        return tuple(ball.pick(is_nearer, n, b) for n, b in zip(new, best, strict=True)), None

    nothing = (jnp.full(len(labels), jnp.inf, logits.dtype), jnp.zeros(len(labels), logits.dtype), jnp.zeros_like(points))
    return lax.scan(nearer, nothing, jnp.arange(classes))[0][1:]


def to_plane(points: Array, normal: Array, offset: Array, norm: str, iterations: int = 20) -> Array:
    """The smallest step [batch, ...] from `points` in the box to the plane <normal, .> = offset [batch], inside the box.

    If the plane misses the box, the step to the corner nearest to it. All pixels move at once, |sign(w)| (linf) or |w| (l2)
    per unit of time, until each meets its wall. The time needed is the root of a concave, piecewise linear function: Newton's
    method approaches it from below and ends on it exactly, without sorting the pixels.
    """
    missing = offset - _total(normal * points)
    w = normal * jnp.where(missing >= 0, 1, -1).reshape(-1, *[1] * (points.ndim - 1)).astype(points.dtype)
    room = jnp.where(w > 0, 1 - points, points)
    speed = jnp.abs(jnp.sign(w)) if norm == "linf" else jnp.abs(w)

    def newton(state):
        step, time, _ = state
        moved = speed * ball.per_example(time, points)
        is_free = moved < room
        gained, slope = _total(jnp.abs(w) * jnp.minimum(moved, room)), _total(jnp.where(is_free, jnp.abs(w) * speed, 0))
        ahead = (jnp.abs(missing) - gained) / jnp.where(slope > 0, slope, 1)
        later = jnp.where(slope > 0, time + jnp.maximum(ahead, 0), time)
        return step + 1, later, (later > time).any()

    start = (0, jnp.zeros_like(missing), jnp.array(True))
    _, time, _ = lax.while_loop(lambda state: (state[0] < iterations) & state[2], newton, start)
    return jnp.sign(w) * jnp.minimum(speed * ball.per_example(time, points), room)


def _total(values):
    """The sum of each example, by a product with ones, into which XLA fuses none of the comparisons that come before it."""
    flat = values.reshape(len(values), -1)
    return jnp.matmul(flat, jnp.ones(flat.shape[1], flat.dtype), precision=lax.Precision.HIGHEST)
