"""The history of a search, drawn at random."""

import numpy as np

from dsrna_jax.genotypes.derivation import derivation
from dsrna_jax.genotypes.search_spaces import SPACES


def searched(space="pcdarts", keep="two", epochs=3):
    """Alphas that were drawn, and what is derived of them; the first are those before the first epoch, as in a run."""
    found, rng = SPACES[space], np.random.default_rng(0)
    rows = found.groups(2, 6)
    history = [{group: rng.normal(size=(count, len(found.primitives))) for group, count in rows.items()} for _ in range(epochs)]
    if found.has_edge_logits:
        history = [alphas | {f"{group}_edges": rng.normal(size=count) for group, count in rows.items()} for alphas in history]
    kept = found.kept(2, 6)
    if kept is not None:
        history = [{group: np.where(kept[group], logits, -np.inf) for group, logits in alphas.items()} for alphas in history]
    genotypes = [derivation(found, keep)(alphas, found.primitives, kept) for alphas in history]
    return [*range(epochs)], history, genotypes, found.primitives
