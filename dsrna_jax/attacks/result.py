"""The result of an attack, and parts of attacks: the gradient of a loss, misclassification, the worst of several runs."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.losses import Loss
from dsrna_jax.errors import InputError
from dsrna_jax.kernels.reductions import max_over

LogitsFn = Callable[..., Array]
"""Maps images [batch, ...] in [0, 1] to logits [batch, class], each image by itself."""


class AttackResult(NamedTuple):
    """The outcome of an attack for each example.

    x_adv: a point in the ball and in the box, misclassified if the attack met such a point.
    success: whether the network misclassifies x_adv, by logits of which none is NaN.
    distance: the norm of x_adv - images.
    loss: the highest value of the attack's loss that it met; of attacks that look for the smallest perturbation, minus its size
      (-inf if they found none).
    steps: gradients (for `square`, forward passes) spent on the example.
    """

    x_adv: Float[Array | np.ndarray, "batch *image"]
    success: Bool[Array | np.ndarray, " batch"]
    distance: Float[Array | np.ndarray, " batch"]
    loss: Float[Array | np.ndarray, " batch"]
    steps: Int[Array | np.ndarray, " batch"]


def result(images: Array, x_adv: Array, success: Array, loss: Array, steps: Array | int, norm: str) -> AttackResult:
    """An AttackResult with its distance computed; `steps` is [batch], or one number for all."""
    steps = jnp.broadcast_to(jnp.asarray(steps, jnp.int32), success.shape)
    return AttackResult(x_adv, success, ball.size(x_adv - images, norm), loss, steps)


def worst(first: AttackResult, second: AttackResult) -> AttackResult:
    """The stronger of two results for each example: a success rather than none, then the higher loss. Steps add up."""
    is_second = jnp.where(first.success == second.success, second.loss > first.loss, second.success)
    chosen = jax.tree.map(lambda old, new: ball.pick(is_second, new, old), first, second)
    return chosen._replace(loss=jnp.maximum(first.loss, second.loss), steps=first.steps + second.steps)


def repeated(run: Callable[[Array | int], AttackResult], times: int, images: Array) -> AttackResult:
    """The worst of run(0), ..., run(times - 1) for each example; `run` is compiled once."""
    if times == 1:
        return run(0)
    zeros = jnp.zeros(len(images), jnp.int32)
    start = AttackResult(images, zeros > 0, zeros.astype(images.dtype), jnp.full(len(images), -jnp.inf, images.dtype), zeros)
    return lax.fori_loop(0, times, lambda i, result: worst(result, run(i)), start)


def climb(logits_fn: LogitsFn, loss: Loss, images: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Logits [batch, class], loss [batch], and its gradient [batch, ...] with respect to the images, made `finite`.

    Raises: InputError unless the loss is one number for each image.
    """

    def total(images):
        logits = logits_fn(images)
        values = loss(logits, labels)
        if np.shape(values) != labels.shape:
            raise InputError(f"a loss must be one number for each of {len(labels)} images, got shape {np.shape(values)}")
        return values.sum(), (logits, values)

    gradient, (logits, values) = jax.grad(total, has_aux=True)(images)
    return logits, known_loss(values), finite(gradient)


def known_loss(values: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """The loss, -inf where it is NaN, so that any other point counts as better."""
    return jnp.where(jnp.isnan(values), -jnp.inf, values)


def finite(gradient: Float[Array, "batch *image"]) -> Float[Array, "batch *image"]:
    """The gradient, 0 where it is NaN, as next to a masked class, and large where it is infinite: steps from it are finite."""
    return jnp.nan_to_num(gradient, nan=0.0, posinf=STEEPEST, neginf=-STEEPEST)


STEEPEST = 1e15  # large, but its square is far inside of float32


def is_fooled(logits: Float[Array, "batch class"], labels: Int[Array, " batch"]) -> Bool[Array, " batch"]:
    """Whether the highest logit is not the label's; false where a logit is NaN, or all classes are masked by -inf."""
    return (logits.argmax(1) != labels) & (max_over(logits, 1) > -jnp.inf)
