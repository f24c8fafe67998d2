"""Checks of what is given to an evaluation, before anything is attacked."""

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import sanity
from dsrna_jax.evaluation.attack.config import AttackConfig


def check_inputs(network: Partial, images: np.ndarray, labels: np.ndarray, config: AttackConfig) -> int:
    """The number of classes of the network.

    Raises: InputError unless images are [examples, height, width, channel] in [0, 1] with labels that the network has, and logits
      are finite and independent of the other images of a batch.
    """
    _check_images(images, labels)
    classes = jax.eval_shape(network, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)).shape[1]
    _check_labels(labels, classes)
    _check_network(network, images, config)
    return classes


def _check_images(images: np.ndarray, labels: np.ndarray) -> None:
    """Raises: InputError unless images are [examples, height, width, channel] in [0, 1] with integer labels [examples]."""
    if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"images must be floating point [examples, height, width, channel], got {images.dtype} {images.shape}")
    if not len(images):
        raise InputError("no images to attack: expected at least one")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"images must be in [0, 1], got values from {low:g} to {high:g}: divide bytes by 255, do not normalise")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be integers, one for each of {len(images)} images, got {labels.dtype} {labels.shape}")


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels go from {labels.min()} to {labels.max()}, but the network has {classes} classes: "
            f"expected 0 to {classes - 1}"
        )


def _check_network(network: Partial, images: np.ndarray, config: AttackConfig) -> None:
    """Raises: InputError for what makes every result meaningless, and not only suspect."""
    some = images[np.resize(np.arange(len(images)), max(2, min(config.batch_size, 64)))]
    checks = {check.name: check for check in sanity.forward_checks(network, some, radius=config.size, norm=config.norm)}
    if checks["logits"].value is None:
        raise InputError("logits are not finite: expected those of a network whose training went well")
    if checks["batch neighbours"].status == "WARN":
        raise InputError(
            f"{checks['batch neighbours'].says}: expected a network in evaluation mode (batch norm by running statistics, "
            "no dropout), whose logits of an image are its own"
        )
