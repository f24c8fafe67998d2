"""Alphas drawn at random."""

import numpy as np

from dsrna_jax import genotypes as g
from dsrna_jax.genotypes.operations import PRIMITIVES


def alphas_of(nodes, seed, edge_logits=False, dtype=np.float32):
    random = np.random.default_rng(seed)
    alphas = {name: random.standard_normal((g.edge_count(nodes), len(PRIMITIVES))).astype(dtype) for name in g.CELL_TYPES}
    if edge_logits:
        alphas |= {f"{name}_edges": random.standard_normal(g.edge_count(nodes)).astype(dtype) for name in g.CELL_TYPES}
    return alphas
