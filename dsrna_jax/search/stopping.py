"""The rules by which a search stops before its last epoch, as functions of what it records.

Those of DARTS+ (Liang et al. 2019, arXiv:1909.06035, section 3.2) see its genotype and the alphas of its epochs; that of DARTS-ES
(Zela et al. 2020, arXiv:1909.09656, section 4.3) sees the dominant eigenvalues (`curvature`).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.genotype import called, skip_count
from dsrna_jax.genotypes.search_spaces import groups_of
from dsrna_jax.networks.families import family_of

WINDOW, BACK = 5, 4  # of DARTS-ES, in measurements: those of a mean, and those from a mean to the one that it is compared to

Ranking = list[list[int]]


def ranking(alphas: Mapping[str, Any], primitives: Sequence[str]) -> Ranking:
    """The operations with weights of every edge from the largest alpha to the smallest, as columns of alphas."""
    learnable = [i for i, name in enumerate(primitives) if family_of(name).is_learnable]
    orders = [np.argsort(-np.asarray(alphas[kind])[:, learnable], axis=1, kind="stable") for kind in groups_of(alphas)]
    return np.array(learnable)[np.concatenate(orders)].tolist()


def unchanged_epochs(rankings: Sequence[Ranking]) -> int:
    """Number of epochs since the ranking last changed, given those of all epochs so far."""
    return max(0, len(list(itertools.takewhile(lambda earlier: earlier == rankings[-1], reversed(rankings)))) - 1)


def reason(genotype: Searched, rankings: Sequence[Ranking], skips: int, stable: int) -> str | None:
    """The rule by which a search stops now, in words; None if it goes on.

    Args:
      rankings: of all epochs in which the alphas moved.
      skips: number of skip connections in the normal cell at which it stops; 0 for none.
      stable: number of epochs without a change of the ranking after which it stops; 0 for none.
    """
    if skips and (count := skip_count(genotype, genotype.groups[0])) >= skips:
        return f"the {called(genotype.groups[0])} has {count} skip connections"
    if stable and (count := unchanged_epochs(rankings)) >= stable:
        return f"the ranking of the operations has not changed for {count} epochs"
    return None


class Rise(NamedTuple):
    """A rise of the dominant eigenvalue: the epoch before it, and the ratio of the means."""

    epoch: int
    ratio: float


def rise_of(config: Any, eigenvalues: Sequence[tuple[int, float]]) -> Rise | None:
    """The rise by which a search of that configuration stops now; None if it goes on. The warm-up does not count."""
    if not config.stop_eigenvalue:
        return None
    counted = [(epoch, value) for epoch, value in eigenvalues if epoch > config.warmup_epochs]
    return rise(counted, config.stop_eigenvalue, config.stop_eigenvalue_from)


def kept_epochs(config: Any) -> int:
    """The number of the last epochs among which is always that of whose cells such a search would return."""
    return (BACK + WINDOW // 2) * config.eigenvalue_every + 1 if config.stop_eigenvalue else 1


def rise(eigenvalues: Sequence[tuple[int, float]], ratio: float, first: int) -> Rise | None:
    """The rise by which DARTS-ES stops now, and the epoch whose genotype it returns; None if it goes on.

    The mean of the last `WINDOW` eigenvalues is compared to the mean that ended `BACK` measurements before; the epoch is in the
    middle of the earlier ones. A mean that is not positive has no ratio, and stops nothing.

    Args:
      eigenvalues: (epoch, eigenvalue) of the measurements so far, at equal intervals.
      ratio: of the later mean to the earlier above which it stops.
      first: the earliest epoch whose genotype it returns.
    """
    if len(eigenvalues) < WINDOW + BACK:
        return None
    values = [value for _, value in eigenvalues[-WINDOW - BACK :]]
    earlier, now = np.mean(values[:WINDOW]), np.mean(values[-WINDOW:])
    epoch = eigenvalues[-BACK - WINDOW // 2 - 1][0]
    return Rise(epoch, float(now / earlier)) if epoch >= first and now > ratio * earlier > 0 else None
