"""Sanity checks that need only forward passes."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.attack.sanity.check import Check, check
from dsrna_jax.inputs import are_probabilities


def forward_checks(
    logits_fn: LogitsFn, images: Float[np.ndarray, "batch *image"], *, radius: float, norm: str = "linf"
) -> Iterator[Check]:
    """Checks of the range of pixels, of independence within a batch, and that outputs are logits. Needs at least 2 images."""
    network, low, high = as_partial(logits_fn), float(images.min()), float(images.max())
    says = f"pixels from {low:.3f} to {high:.3f}; radius {pixels(radius, norm)} in the same units"
    yield check("normalisation inside", low >= 0 and high <= 1 and high - low > 0.25, high - low, says)

    half = len(images) // 2
    swapped = np.concatenate([1 - images[half:], images[:half]])
    here, there = (np.asarray(_logits(network, batch)) for batch in (images, swapped))
    with np.errstate(invalid="ignore", over="ignore"):  # logits may be anything
        highest, lowest = here.max(1), np.where(here == -np.inf, np.inf, here).min(1)  # -inf masks a class
        before, after = here[:half], there[len(images) - half :]
        shift = np.where(before == after, 0, np.abs(before - after)).max()
        moved = float(shift / max(highest.max() - lowest.min(), 1e-30))
        spread = float((highest - lowest).mean())
    says = f"logits move by {moved:.1e} of their range when place and neighbours in the batch change"
    yield check("batch neighbours", moved < 1e-3, moved, says)

    is_probability = are_probabilities(here)
    says = "outputs are probabilities, but attacks climb logits" if is_probability else f"they spread over {spread:.3g} (mean)"
    yield check("logits", not is_probability and np.isfinite(spread), spread, says)


@jax.jit
def _logits(logits_fn: Partial, images: Array) -> Array:
    return logits_fn(images)
