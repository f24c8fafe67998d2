"""What attacks climb: functions (logits [batch, class], labels [batch]) -> [batch], higher is worse for the network."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsrna_jax.errors import InputError

Loss = Callable[[Array, Array], Array]


def cross_entropy(logits: Array, y: Array) -> Array:
    """-log softmax(logits)[y]."""
    return -of_class(jax.nn.log_softmax(logits), y)


def margin(logits: Array, y: Array) -> Array:
    """max over j != y of z_j, minus z_y: positive where misclassified (Carlini and Wagner 2017)."""
    return jnp.max(without(logits, y), axis=1) - of_class(logits, y)


def dlr(logits: Array, y: Array) -> Array:
    """Difference of logits ratio (Croce and Hein 2020, arXiv:2003.01690, Eq. 6): the margin over z_1st - z_3rd.

    Neither a shift nor a positive factor of the logits changes it. Raises: InputError for fewer than 3 classes.
    """
    _check_classes(logits, 3, "dlr")
    top = lax.top_k(logits, 3)[0]
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted(loss: str, target: Array) -> Loss:
    """The variant of a loss that pulls towards the classes `target` [batch], by the name of the loss.

    margin: z_t - z_y. dlr: the same over z_1st - (z_3rd + z_4th) / 2 (Eq. 7), for 4 classes or more. ce: log softmax[t].
    """

    def difference(logits, y):
        return of_class(logits, target) - of_class(logits, y)

    def targeted_dlr(logits, y):
        _check_classes(logits, 4, "targeted dlr")
        top = lax.top_k(logits, 4)[0]
        return difference(logits, y) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)

    return _named(loss, {"ce": lambda logits, y: -cross_entropy(logits, target), "margin": difference, "dlr": targeted_dlr})


LOSSES = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def resolved(loss: str | Loss, target: Array | None = None) -> Loss:
    """The loss of that name, towards `target` where there is one; a function is taken as it is. InputError if unknown."""
    if callable(loss):
        return loss
    return _named(loss, LOSSES) if target is None else targeted(loss, target)


def of_class(values: Array, y: Array) -> Array:
    """values[i, y[i]] for each i."""
    return jnp.take_along_axis(values, y[:, None], axis=1)[:, 0]


def without(logits: Array, y: Array) -> Array:
    """The logits with that of class y at -inf."""
    return jnp.where(jnp.arange(logits.shape[1]) == y[:, None], -jnp.inf, logits)


def runner_up(logits: Array, y: Array, rank: Array | int) -> Array:
    """[batch]: the class with the `rank`-th highest logit (from 1) among those other than y."""
    order = jnp.argsort(without(logits, y), axis=1, descending=True)
    return jnp.take(order, rank - 1, axis=1)


def _named(loss, losses):
    if loss not in losses:
        raise InputError(f"unknown loss {loss!r}: expected one of {', '.join(losses)}, or a function of logits and labels")
    return losses[loss]


def _check_classes(logits, least, name):
    if logits.shape[1] < least:
        raise InputError(f"the {name} loss needs {least} classes or more, got {logits.shape[1]}: use loss='margin' or 'ce'")
