"""Is an evaluation to be believed? Signs of gradient masking and of mistakes around the network, each PASS or WARN.

After Athalye, Carlini and Wagner 2018 (arXiv:1802.00420), Carlini et al. 2019 (arXiv:1902.06705) and Pintor et al. 2022
(arXiv:2106.09947). A warning does not say that a network is weak, but that its accuracy under attack may be too high.
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

COST = 3000  # of all checks, in forward passes for an example, about
COUNT = 12  # of checks, without that by a surrogate


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
    """All checks, each as soon as it is made.

    Args:
      logits_fn: as attacks take it; as a `jax.tree_util.Partial` of its weights it compiles nothing for another checkpoint.
      images: float32 in [0, 1]; some hundred are enough.
      place: puts a batch on devices.
      surrogate: another network for the same images, for one more check, or None.
    """
    some = np.resize(np.arange(len(images)), max(2, min(batch_size, 64)))
    yield from forward_checks(logits_fn, images[some], radius=radius, norm=norm)
    yield from gradient_checks(logits_fn, images[some], labels[some], key, radius=radius, norm=norm)
    yield from attack_checks(
        logits_fn, images, labels, key, radius=radius, norm=norm, batch_size=batch_size, place=place
    )
    if surrogate is not None:
        yield transfer_check(
            logits_fn, surrogate, images, labels, key, radius=radius, norm=norm, batch_size=batch_size, place=place
        )
