"""The rules by which a search stops before its last epoch: those of DARTS+ (Liang et al. 2019, arXiv:1909.06035, section 3.2).

They are functions of what a search records: its genotype, and the alphas of its epochs.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype, skip_count
from dsrna_jax.genotypes.operations import OPERATIONS

_WITHOUT_WEIGHTS = ("none", "skip", "max_pool", "average_pool", "noise")  # families of operations

Ranking = list[list[int]]


def ranking(alphas: Mapping[str, Any], primitives: Sequence[str]) -> Ranking:
    """The operations with weights of every edge from the largest alpha to the smallest, as columns of alphas."""
    learnable = [i for i, name in enumerate(primitives) if OPERATIONS[name].family not in _WITHOUT_WEIGHTS]
    orders = [np.argsort(-np.asarray(alphas[kind])[:, learnable], axis=1, kind="stable") for kind in CELL_TYPES]
    return np.array(learnable)[np.concatenate(orders)].tolist()


def unchanged_epochs(rankings: Sequence[Ranking]) -> int:
    """Number of epochs since the ranking last changed, given those of all epochs so far."""
    return max(0, len(list(itertools.takewhile(lambda earlier: earlier == rankings[-1], reversed(rankings)))) - 1)


def reason(genotype: Genotype, rankings: Sequence[Ranking], skips: int, stable: int) -> str | None:
    """The rule by which a search stops now, in words; None if it goes on.

    Args:
      rankings: of all epochs in which the alphas moved.
      skips: number of skip connections in the normal cell at which it stops; 0 for none.
      stable: number of epochs without a change of the ranking after which it stops; 0 for none.
    """
    if skips and (count := skip_count(genotype, "normal")) >= skips:
        return f"the normal cell has {count} skip connections"
    if stable and (count := unchanged_epochs(rankings)) >= stable:
        return f"the ranking of the operations has not changed for {count} epochs"
    return None
