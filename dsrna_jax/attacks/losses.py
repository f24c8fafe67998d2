"""Losses that attacks maximise: functions (logits [batch, class], labels [batch]) -> [batch], larger is worse for the network."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from dsrna_jax.errors import InputError
from dsrna_jax.losses import margin, of_class

Loss = Callable[[Array, Array], Array]
CLASSES_OF_DLR, CLASSES_OF_TARGETED_DLR = 3, 4  # at least
MASKED = 1e12  # a class this far below the highest logit is masked
LEAST_SLOPE = 1e-6  # of the cross-entropy, by the log odds against the label


def cross_entropy(logits: Float[Array, "batch class"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """-log softmax(logits)[label], in nats, as precise for large logits and margins as for small ones, unlike `dsrna_jax.losses`.

    Its derivative is not softmax - 1, which is 0 in float32 from a margin of 17 on: where the label's probability is within
    `LEAST_SLOPE` of 1, it has the true direction, and the size that it has there, so that no step is lost.
    """
    others = (jnp.arange(logits.shape[1])[None] != labels[:, None]) & ~(logits == -jnp.inf)
    ahead = jnp.where(others, logits, 0) - of_class(logits, labels)[:, None]
    return _softplus(jax.nn.logsumexp(ahead, axis=1, where=others))


@jax.custom_jvp
def _softplus(odds):
    return jnp.logaddexp(odds, 0)


@_softplus.defjvp
def _softplus_jvp(values, tangents):
    (odds,), (tangent,) = values, tangents
    slope = jnp.maximum(jax.nn.sigmoid(odds), LEAST_SLOPE)
    return _softplus(odds), jnp.where(odds > -jnp.inf, slope, 0) * tangent


def margin_loss(logits: Float[Array, "batch class"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Minus the margin: max over j != label of z_j, minus z_label; positive where misclassified (Carlini and Wagner 2017)."""
    return -margin(logits, labels)


def dlr(logits: Float[Array, "batch class"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Difference of logits ratio: `margin_loss` over z_1st - z_3rd (Croce and Hein 2020, arXiv:2003.01690, Eq. 6).

    Invariant to adding a number to all logits and to scaling them by a positive one. It is the `margin_loss` where all but two
    classes are masked, by -inf or by a number such as -1e30. Raises: InputError for fewer than 3 classes.
    """
    _check_classes(logits, CLASSES_OF_DLR, "dlr")
    top = lax.top_k(logits, 3)[0]
    return _ratio(margin_loss(logits, labels), top[:, 0] - top[:, 2])


def targeted(loss: str, target: Int[Array, " batch"]) -> Loss:
    """The variant of a loss that pulls towards the classes `target`, by the name of the loss.

    "margin": z_target - z_label. "dlr": the same over z_1st - (z_3rd + z_4th) / 2 (Eq. 7), for 4 classes or more.
    "ce": log softmax(logits)[target]. Raises: InputError for any other name.
    """

    def difference(logits, labels):
        return of_class(logits, target) - of_class(logits, labels)

    def targeted_dlr(logits, labels):
        _check_classes(logits, CLASSES_OF_TARGETED_DLR, "targeted dlr")
        top = lax.top_k(logits, 4)[0]
        return _ratio(difference(logits, labels), top[:, 0] - (top[:, 2] + top[:, 3]) / 2)

    return _named(loss, {"ce": lambda logits, _: -cross_entropy(logits, target), "margin": difference, "dlr": targeted_dlr})


LOSSES = {"ce": cross_entropy, "margin": margin_loss, "dlr": dlr}
"""Losses by the name that the option `loss` of attacks takes. "margin" is minus the margin, since attacks maximise."""


def resolved(loss: str | Loss, target: Int[Array, " batch"] | None = None) -> Loss:
    """The loss of that name, towards `target` if given; a function is returned as it is. Raises: InputError if unknown."""
    if callable(loss):
        return loss
    return _named(loss, LOSSES) if target is None else targeted(loss, target)


def dlr_or_margin(classes: int, *, is_targeted: bool) -> str:
    """The name of a loss for that many classes: "dlr" where it is defined, else "margin"."""
    return "dlr" if classes >= (CLASSES_OF_TARGETED_DLR if is_targeted else CLASSES_OF_DLR) else "margin"


def runner_up(logits: Float[Array, "batch class"], labels: Int[Array, " batch"], rank: Array | int) -> Int[Array, " batch"]:
    """The class with the `rank`-th highest logit, counted from 1, among those other than the label."""
    order = jnp.argsort(logits, axis=1, descending=True)
    own = jnp.argmax(order == labels[:, None], axis=1)  # rank of the label, which is skipped
    return jnp.take_along_axis(order, (rank - 1 + (own < rank))[:, None], axis=1)[:, 0]


def _ratio(difference, scale):
    """difference / scale; the difference itself where a masked class makes the scale so large that the gradient would vanish."""
    return difference / jnp.where(scale < MASKED, scale + 1e-12, 1)


def _named(loss, losses):
    if not isinstance(loss, str) or loss not in losses:
        raise InputError(f"unknown loss {loss!r}: expected one of {', '.join(losses)}, or a function of logits and labels")
    return losses[loss]


def _check_classes(logits, least, name):
    if logits.shape[1] < least:
        raise InputError(f"the {name} loss needs {least} classes or more, got {logits.shape[1]}: use loss='margin' or 'ce'")
