"""Sanity checks of an evaluation: signs of gradient masking and of mistakes around the network, each PASS or WARN.

After Athalye, Carlini and Wagner 2018 (arXiv:1802.00420), Carlini et al. 2019 (arXiv:1902.06705) and Pintor et al. 2022
(arXiv:2106.09947). A warning means that the accuracy under attack may be too high.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.evaluation.attack.sanity.attacked import attack_checks, transfer_check
from dsrna_jax.evaluation.attack.sanity.check import Check, check
from dsrna_jax.evaluation.attack.sanity.forward import forward_checks
from dsrna_jax.evaluation.attack.sanity.gradients import gradient_checks

__all__ = [
    "COST", "COUNT", "Check", "attack_checks", "check", "checks", "forward_checks", "gradient_checks", "transfer_check",
]  # fmt: skip

COST = 3000  # estimate for all checks, in forward passes for an example
COUNT = 12  # number of checks, without that by a surrogate


def checks(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "examples *image"],
    labels: Int[np.ndarray, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float,
    norm: str = "linf",
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
    surrogate: LogitsFn | None = None,
) -> Iterator[Check]:
    """Yields the results of all checks.

    Args:
      logits_fn: as attacks take it; a `jax.tree_util.Partial` of its weights lets other checkpoints share the compiled programs.
      images: float32 in [0, 1]; a hundred or so are enough.
      place: puts a batch on devices.
      surrogate: another network for the same images, for one more check, or None.
    """
    some = np.resize(np.arange(len(images)), max(2, min(batch_size, 64)))
    yield from forward_checks(logits_fn, images[some], radius=radius, norm=norm)
    yield from gradient_checks(logits_fn, images[some], labels[some], key, radius=radius, norm=norm)
    yield from attack_checks(logits_fn, images, labels, key, radius=radius, norm=norm, batch_size=batch_size, place=place)
    if surrogate is not None:
        yield transfer_check(
            logits_fn, surrogate, images, labels, key, radius=radius, norm=norm, batch_size=batch_size, place=place
        )
