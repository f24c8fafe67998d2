"""Predictions of networks, batch by batch, by forward passes in full precision, and a check that outputs are logits."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from dsrna_jax import inputs
from dsrna_jax.attacks.result import LogitsFn

UNDEFINED = -1  # the prediction of a network whose logits are NaN


def precise_logits(logits_fn: Partial, images: Float[ArrayLike, "batch *image"]) -> Float[Array, "batch classes"]:
    """Logits by matrix products in full float32: they decide whether an image is misclassified."""
    with jax.default_matmul_precision("highest"):
        return logits_fn(images)


compiled_logits = jax.jit(precise_logits)
"""`precise_logits`, compiled."""


def predictions(logits_fn: Partial, images: Float[ArrayLike, "batch *image"]) -> Int[np.ndarray, " batch"]:
    """The class with the highest logit, in full float32; `UNDEFINED` where a logit is NaN, or all classes are masked by -inf."""
    return predicted_classes(compiled_logits(logits_fn, images))


def predicted(
    logits_fn: LogitsFn, images: Float[Array | np.ndarray, "examples *image"], batch_size: int
) -> Int[np.ndarray, " examples"]:
    """`predictions` of every image of a data set, in batches of `batch_size`."""
    return predicted_classes(_logits(logits_fn, images, batch_size))


def clean_predictions(
    logits_fn: LogitsFn,
    images: Float[Array | np.ndarray, "examples *image"],
    labels: Int[np.ndarray, " examples"],
    batch_size: int,
    *,
    warns: bool = True,
) -> tuple[int, Int[np.ndarray, " examples"]]:
    """The number of classes, and `predicted` of images that are to be attacked or certified. `warns`: of probabilities.

    Raises: InputError unless images are in [0, 1], labels are classes, and outputs are finite logits; -inf may mask some classes.
    """
    inputs.check_images(images)
    inputs.check_labels(labels, len(images))
    inputs.check_counts(batch_size=batch_size)
    some = jax.ShapeDtypeStruct((batch_size, *images.shape[1:]), images.dtype)
    classes = inputs.class_count(jax.eval_shape(as_partial(logits_fn), some), batch_size)
    inputs.check_labels(labels, len(images), classes)
    logits = _logits(logits_fn, images, batch_size)
    inputs.check_logits(logits)
    if warns:
        inputs.warn_of_probabilities(logits)
    return classes, predicted_classes(logits)


def are_fooled(classes: Int[np.ndarray, " batch"], labels: Int[np.ndarray, " batch"]) -> Bool[np.ndarray, " batch"]:
    """Whether `predictions` differ from the labels; false where they are `UNDEFINED`."""
    return (classes != labels) & (classes != UNDEFINED)


def as_partial(logits_fn: LogitsFn) -> Partial:
    """`logits_fn` as a pytree, which compiled programs take as an argument.

    The arguments of a `jax.tree_util.Partial`, such as the weights, are traced, so that another checkpoint compiles nothing.
    Arrays that any other function closes over are constants of the program. They may have changed since an earlier call, so that
    every call counts as another function, and compiles anew.
    """
    return logits_fn if isinstance(logits_fn, Partial) else Partial(_OfOneCall(logits_fn))


class _OfOneCall:
    """A function that equals no other wrapping of it."""

    def __init__(self, logits_fn: LogitsFn):
        self._logits_fn = logits_fn

    def __call__(self, *arguments):
        return self._logits_fn(*arguments)


def with_fixed_key(logits_fn: LogitsFn, key: PRNGKeyArray, images: Array) -> Array:
    """Fixes the key of a stochastic network, making it deterministic: `Partial(with_fixed_key, logits_fn, key)`."""
    return logits_fn(images, key)


def batches(indices: Int[np.ndarray, " examples"], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`indices` in parts of at most `batch_size`, each with the same part padded to that size by repeating it."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        yield part, np.resize(part, batch_size)


def _logits(logits_fn, images, batch_size):
    network = as_partial(logits_fn)
    parts = [
        np.asarray(compiled_logits(network, images[padded]))[: len(indices)]
        for indices, padded in batches(np.arange(len(images)), batch_size)
    ]
    return np.concatenate(parts)


def predicted_classes(logits: Float[Array | np.ndarray, "batch classes"]) -> Int[np.ndarray, " batch"]:
    """The class with the highest logit; `UNDEFINED` where a logit is NaN, or all classes are masked by -inf."""
    logits = np.asarray(logits)
    return np.where(np.max(logits, 1) > -np.inf, logits.argmax(1), UNDEFINED)
