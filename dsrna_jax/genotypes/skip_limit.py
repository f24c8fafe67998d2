"""A limit on the skip connections of the normal cell (P-DARTS, Chen et al. 2019, arXiv:1904.12760, section 3.3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsrna_jax.genotypes.derivation import derive, mixture
from dsrna_jax.genotypes.genotype import CELL_TYPES, Gene, Genotype, edges, skip_count
from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES


def derive_with_few_skips(
    alphas: Mapping[str, Any], primitives: Sequence[str] = PRIMITIVES, kept: Mapping[str, Any] | None = None, *, most: int
) -> Genotype:
    """The genotype with at most `most` skip connections in its normal cell, and the genes of a node in the order of edges.

    As long as there are more, the one with the smallest share of its edge is ruled out, and operations and edges are chosen
    again by the shares, which stay as they are. A skip stays where its edge has nothing else but `none`. Arguments as those
    of `derive`.
    """
    names, shares = list(primitives), mixture(alphas["normal"])
    allowed = {cell: np.isfinite(np.asarray(alphas[cell], float)) for cell in CELL_TYPES}
    if kept is not None:
        allowed = {cell: allowed[cell] & np.asarray(kept[cell], bool) for cell in CELL_TYPES}
    is_operation = np.array([name != "none" for name in names])
    genotype = derive(alphas, primitives, allowed)
    numbers = {edge: number for number, edge in enumerate(edges(genotype.nodes))}
    while skip_count(genotype) > most:
        skips = []
        for i, (name, source) in enumerate(genotype.normal):
            number, column = numbers[source, 2 + i // 2], names.index(name)
            if OPERATIONS[name].family == "skip" and (allowed["normal"][number] & is_operation).sum() > 1:
                skips.append((shares[number, column], number, column))
        if not skips:
            break
        _, number, column = min(skips)
        allowed["normal"][number, column] = False
        genotype = derive(alphas, primitives, allowed)
    concat = genotype.normal_concat
    return Genotype(_by_edge(genotype.normal), concat, _by_edge(genotype.reduction), concat)


def _by_edge(genes: tuple[Gene, ...]) -> tuple[Gene, ...]:
    """The genes with those of each node in the order of their sources."""
    return tuple(gene for i in range(0, len(genes), 2) for gene in sorted(genes[i : i + 2], key=lambda gene: gene[1]))
