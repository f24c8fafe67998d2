"""Hypergradients of the alphas in the bi-level problem (DSRNA Eq. 16, DARTS section 2.3).

Each takes the same five arguments and returns (gradient by alphas, auxiliary output of the objective):

    train_loss(weights, alphas) -> scalar
    objective(weights, alphas) -> (scalar, auxiliary)      the validation loss - gamma * R
    weight_update(weight_gradient) -> new weights          the optimiser's own step from `weights`, with all its state
    weights, alphas

Losses and objective are means over the examples of a device (`data_parallel`); gradients are those of their means over the batch.
The first two may be means over parts of a batch (`runtime.microbatches.Averaged`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dsrna_jax.data_parallel import batch_mean
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.microbatches import mean_derivative

Hypergradient = Callable[..., tuple[Any, Any]]


def first(train_loss, objective, weight_update, weights, alphas):
    """Gradient of the objective at the present weights, as if these did not depend on the alphas (first-order DARTS)."""
    gradient_of = lambda f: jax.grad(f, argnums=1, has_aux=True)(weights, alphas)  # noqa: E731
    gradient, auxiliary = mean_derivative(objective, gradient_of, has_aux=True)
    return batch_mean(gradient), auxiliary


def unrolled(train_loss, objective, weight_update, weights, alphas):
    """Exact gradient of `objective(weight_update(grad train_loss(weights, alphas)), alphas)` by the alphas.

    One Jacobian-vector product of the training loss's alpha gradient replaces DARTS's finite difference (its Eq. 7).
    Momentum, weight decay, clipping and learning rate are part of the step; at rate zero this equals `first`.
    """
    return _unrolled(exact_mixed_product, train_loss, objective, weight_update, weights, alphas)


def unrolled_fd(train_loss, objective, weight_update, weights, alphas, scale: float = 1e-2):
    """`unrolled` with DARTS's central difference (its Eq. 8) of weights moved by `scale`; converges to it as scale -> 0."""

    def difference(train_loss, weights, alphas, direction):
        size = optax.tree.norm(direction)
        distance = scale / jnp.where(size > 0, size, 1)

        def alpha_gradient(offset):
            moved = jax.tree.map(lambda w, d: w + offset * d, weights, direction)
            return jax.grad(train_loss, argnums=1)(moved, alphas)

        above, below = alpha_gradient(distance), alpha_gradient(-distance)
        return jax.tree.map(lambda a, b: (a - b) / (2 * distance), above, below)

    return _unrolled(difference, train_loss, objective, weight_update, weights, alphas)


def exact_mixed_product(train_loss, weights, alphas, direction):
    """d/dt of the alpha gradient of `train_loss` at weights + t * direction, t = 0."""
    return jax.jvp(lambda w: jax.grad(train_loss, argnums=1)(w, alphas), (weights,), (direction,))[1]


def _unrolled(mixed_product, train_loss, objective, weight_update, weights, alphas):
    gradient = batch_mean(mean_derivative(train_loss, lambda f: jax.grad(f)(weights, alphas)))
    virtual_weights, pullback = jax.vjp(weight_update, gradient)
    gradients_of = lambda f: jax.grad(f, argnums=(0, 1), has_aux=True)(virtual_weights, alphas)  # noqa: E731
    gradients, auxiliary = mean_derivative(objective, gradients_of, has_aux=True)
    by_weights, direct = batch_mean(gradients)
    (direction,) = pullback(by_weights)
    indirect = batch_mean(mean_derivative(train_loss, lambda f: mixed_product(f, weights, alphas, direction)))
    return jax.tree.map(jnp.add, direct, indirect), auxiliary


HYPERGRADIENTS = {"first": first, "unrolled": unrolled, "unrolled_fd": unrolled_fd}


def hypergradient(order: str) -> Hypergradient:
    """The hypergradient of that name. Raises: InputError for a name that is not in `HYPERGRADIENTS`."""
    if order not in HYPERGRADIENTS:
        raise InputError(f"unknown hypergradient {order!r}; expected one of {', '.join(HYPERGRADIENTS)}")
    return HYPERGRADIENTS[order]
