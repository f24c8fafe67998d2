"""The optimiser of weights, in searches and in trainings."""

from collections.abc import Callable
from typing import Any

import optax


def sgd(rate: Callable[[Any], Any], *, clip: float, weight_decay: float, momentum: float) -> optax.GradientTransformation:
    """SGD as in DARTS: gradient clipped by its global norm, coupled L2 decay (as in torch), momentum.

    Args:
      rate: number of the update, from 0 -> learning rate.
    """
    return optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(clip),
            optax.add_decayed_weights(weight_decay),
            optax.trace(momentum),
            optax.scale_by_learning_rate(rate),
        )
    )
