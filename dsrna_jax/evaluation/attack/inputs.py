"""Checks of the arguments of an evaluation under attack."""

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax import inputs
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import sanity
from dsrna_jax.evaluation.attack.config import AttackConfig


def check_inputs(
    network: Partial, images: np.ndarray, labels: np.ndarray, config: AttackConfig, surrogate: Partial | None = None
) -> int:
    """The number of classes of the network.

    Raises: InputError unless images are [examples, height, width, channel] in [0, 1] with labels that the network has, logits are
      finite (-inf may mask classes) and independent of the other images of a batch, and the surrogate has the same classes.
    """
    inputs.check_images(images)
    if images.ndim != 4:
        raise InputError(f"images must be floating point [examples, height, width, channel], got {images.dtype} {images.shape}")
    inputs.check_labels(labels, len(images))
    some = images[np.resize(np.arange(len(images)), max(2, min(config.batch_size, 64)))]
    classes = inputs.class_count(jax.eval_shape(network, some), len(some))
    inputs.check_labels(labels, len(images), classes)
    if surrogate is not None:
        others = inputs.class_count(jax.eval_shape(surrogate, some), len(some))
        if others != classes:
            raise InputError(f"the surrogate has {others} classes: expected {classes}, as the attacked network")
    _check_network(network, some, config)
    return classes


def _check_network(network: Partial, images: np.ndarray, config: AttackConfig) -> None:
    """Raises: InputError if logits are not finite or depend on the batch, which makes every result meaningless."""
    checks = {check.name: check for check in sanity.forward_checks(network, images, radius=config.size, norm=config.norm)}
    if checks["logits"].value is None:
        raise InputError("logits are not finite: expected those of a network whose training went well")
    if checks["batch neighbours"].status == "WARN":
        raise InputError(
            f"{checks['batch neighbours'].says}: expected a network in evaluation mode (batch norm by running statistics, "
            "no dropout), whose logits of an image are its own"
        )
