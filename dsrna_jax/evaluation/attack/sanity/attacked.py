"""Sanity checks by attacks whose results have a known order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from dsrna_jax.attacks import square
from dsrna_jax.attacks.predictions import are_fooled, as_partial, clean_predictions, predicted
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.attacks.series import AttackBatch, AttackStage, run_series
from dsrna_jax.evaluation.attack.sanity.check import Check, check
from dsrna_jax.evaluation.attack.stages import fgsm_stage, noise_stage, pgd_stage

DRAWS = 50  # of the random noise
QUERIES = 1000  # of Square
BOUNDLESS = {"linf": lambda pixels: 1.0, "l2": lambda pixels: float(np.sqrt(pixels))}  # the whole box, from anywhere in it


def attack_checks(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "examples *image"],
    labels: Int[np.ndarray, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float,
    norm: str = "linf",
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> Iterator[Check]:
    """Checks that stronger attacks and larger radii leave fewer images, and that attacks without gradients add none.

    Accuracies are those on all images. Differences count if they exceed a tolerance in per cent, and one example.
    """
    network, total = as_partial(logits_fn), len(images)
    clean = clean_predictions(network, images, labels, batch_size, warns=False)[1] == labels

    def left(stages: Sequence[AttackStage], robust=clean, radius=radius):
        """The examples of `robust` that withstand the stages."""
        options = {"radius": radius, "norm": norm, "batch_size": batch_size, "place": place}
        return _survivors(robust, run_series(network, images, labels, key, stages=stages, robust=robust, **options))

    def is_more(share, least=0.005):
        return share > max(least, 1.5 / total)

    fgsm, pgd = left([fgsm_stage()]), left([pgd_stage(20)])
    gap = pgd.mean() - fgsm.mean()
    says = f"PGD-20 leaves {pgd.mean():.1%}, FGSM {fgsm.mean():.1%}"
    yield check("PGD not above FGSM", not is_more(gap), gap, says)

    long = left([pgd_stage(100)], pgd)
    gap = pgd.mean() - long.mean()
    says = f"PGD-100 leaves {long.mean():.1%}, PGD-20 {pgd.mean():.1%}"
    yield check("convergence", not is_more(gap), gap, says)

    by_margin = left([pgd_stage(20, loss="margin")])
    gap = pgd.mean() - by_margin.mean()
    says = f"PGD-20 leaves {by_margin.mean():.1%} by the margin, {pgd.mean():.1%} by cross-entropy"
    yield check("scale of the logits", not is_more(gap, 0.02), gap, says)

    robust = long & by_margin
    fooled = robust & ~left([noise_stage(DRAWS)], robust)
    says = f"{DRAWS} random points fool {fooled.mean():.1%} of the images that PGD does not"
    yield check("random noise", not is_more(fooled.mean(), 0.002), fooled.mean(), says)

    if images.ndim == 4:
        fooled = robust & ~left([AttackStage("square", square, numbers=(("steps", QUERIES),))], robust)
        says = f"Square ({QUERIES} queries) fools {fooled.mean():.1%} of the images that PGD does not"
        yield check("black box", not is_more(fooled.mean(), 0.002), fooled.mean(), says)

    boundless = left([pgd_stage(20)], radius=BOUNDLESS[norm](images[0].size))
    says = f"PGD-20 leaves {boundless.mean():.1%} when any image may become any other"
    yield check("unbounded", not is_more(boundless.mean(), 0.01), boundless.mean(), says)

    shares = [left([pgd_stage(20)], radius=factor * radius).mean() for factor in (0.5, 1.5, 2.0)]
    shares.insert(1, pgd.mean())
    rise = max(np.diff(shares))
    says = f"PGD-20 leaves {', '.join(f'{share:.1%}' for share in shares)} at 0.5, 1, 1.5, 2 radii"
    yield check("growing radius", not is_more(rise), rise, says)


def transfer_check(
    logits_fn: LogitsFn,
    surrogate: LogitsFn,
    images: Float[np.ndarray, "examples *image"],
    labels: Int[np.ndarray, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float,
    norm: str = "linf",
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> Check:
    """Checks that PGD on another network, such as one of another seed, fools few images on which PGD on the network fails.

    A warning means that the gradients of the surrogate are more useful than the network's own. Accuracies are those on all
    images.
    """
    options = {"stages": [pgd_stage(20)], "radius": radius, "norm": norm, "batch_size": batch_size, "place": place}
    clean = clean_predictions(logits_fn, images, labels, batch_size, warns=False)[1] == labels
    robust, moved = _survivors(clean, run_series(logits_fn, images, labels, key, robust=clean, **options)), images.copy()
    for batch in run_series(surrogate, images, labels, key, robust=robust, **options):
        moved[batch.indices] = batch.result.x_adv
    fooled = (robust & are_fooled(predicted(logits_fn, moved, batch_size), labels)).mean()
    says = f"PGD-20 on the surrogate fools {fooled:.1%} of the images that PGD-20 on the network does not"
    return check("transfer", fooled <= max(0.002, 1.5 / len(images)), fooled, says)


def _survivors(robust: Bool[np.ndarray, " examples"], series: Iterable[AttackBatch]) -> Bool[np.ndarray, " examples"]:
    """The examples of `robust` that withstand a series of attacks."""
    left = robust.copy()
    for batch in series:
        left[batch.fallen] = False
    return left
