"""The nearest misclassified point met so far: the state of attacks that look for the smallest perturbation."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.result import AttackResult, result


class Nearest(NamedTuple):
    """x_adv [batch, ...] and its distance [batch] from x, infinite while no misclassified point was met."""

    x_adv: Array
    distance: Array


def none(x: Array) -> Nearest:
    """Before any point was tried."""
    return Nearest(x, jnp.full(len(x), jnp.inf, x.dtype))


def after(found: Nearest, points: Array, fooled: Array, x: Array, norm: str) -> Nearest:
    """`found`, after `points` were tried, of which `fooled` [batch] are misclassified."""
    distance = jnp.where(fooled, ball.size(points - x, norm), jnp.inf)
    is_nearer = distance < found.distance
    return Nearest(ball.pick(is_nearer, points, found.x_adv), jnp.where(is_nearer, distance, found.distance))


def within(found: Nearest, radius: Array | float, x: Array, steps: int, norm: str) -> AttackResult:
    """The result: a success where the distance is at most `radius`, else x itself. The loss is minus the distance found."""
    success = (found.distance <= jnp.asarray(radius, x.dtype)) & jnp.isfinite(found.distance)
    return result(x, ball.pick(success, found.x_adv, x), success, -found.distance, steps, norm)
