"""A word on the collapse of a search: skip connections that pile up in the cell that it found."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.genotype import called, skip_count

MOST = 0.25
"""The share of skip connections in a normal cell up to which nothing is said: two of eight, as in DARTS+ and P-DARTS."""
FEW = 3
"""Fewer than that are no sign in a small cell, unless there is nothing else."""


def collapse_note(genotype: Searched, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """A line if more than `MOST` of the normal cell, or of the blocks, are skip connections, with the eigenvalue if it is known.

    Zela et al. 2020 (arXiv:1909.09656) see such cells, which learn less when trained, after that eigenvalue has risen.

    Args:
      rows: those of metrics.jsonl.
    """
    group = genotype.groups[0]
    skips, genes = skip_count(genotype, group), len(genotype.genes(group))
    if skips <= MOST * genes or FEW > skips < genes:
        return None
    return (
        f"{skips} of {genes} operations of the {called(group)} are skip connections, a sign of collapse{_eigenvalue(rows)}: "
        "compare another seed, --stop_skips=2, --perturbation=adversarial, or a larger --weight_decay"
    )


def _eigenvalue(rows: Sequence[Mapping[str, Any]]) -> str:
    measured = [(row["epoch"], row["eigenvalue"]) for row in rows if row.get("eigenvalue") is not None]
    if len(measured) < 2:
        return " (--eigenvalue_every=2 would show whether the dominant eigenvalue rises)"
    (first, before), (last, after) = measured[0], measured[-1]
    return f"; the dominant eigenvalue was {before:.3g} after epoch {first} and is {after:.3g} after epoch {last}"
