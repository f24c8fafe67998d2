"""The nearest misclassified point met so far: the state of attacks that look for the smallest perturbation."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.result import AttackResult, result


class Nearest(NamedTuple):
    """The nearest misclassified point and its distance from the image, infinite while none was met."""

    x_adv: Float[Array, "batch *image"]
    distance: Float[Array, " batch"]


def none(images: Float[Array, "batch *image"]) -> Nearest:
    """The state before any point is tried."""
    return Nearest(images, jnp.full(len(images), jnp.inf, images.dtype))


def after(
    nearest: Nearest,
    points: Float[Array, "batch *image"],
    fooled: Bool[Array, " batch"],
    images: Float[Array, "batch *image"],
    norm: str,
) -> Nearest:
    """The state after `points` were tried, of which those where `fooled` holds are misclassified."""
    distance = jnp.where(fooled, ball.size(points - images, norm), jnp.inf)
    is_nearer = distance < nearest.distance
    return Nearest(ball.pick(is_nearer, points, nearest.x_adv), jnp.where(is_nearer, distance, nearest.distance))


def within(nearest: Nearest, radius: ArrayLike, images: Float[Array, "batch *image"], steps: int, norm: str) -> AttackResult:
    """The result: a success where the distance is at most `radius`, else the image itself. The loss is minus the distance."""
    success = (nearest.distance <= jnp.asarray(radius, images.dtype)) & jnp.isfinite(nearest.distance)
    return result(images, ball.pick(success, nearest.x_adv, images), success, -nearest.distance, steps, norm)
