"""The operations that the edges of a supernet still have, where a search drops some between its stages (P-DARTS).

Truth values [edge, primitive] by cell type, and as text: the columns that each edge keeps, edges by commas, the reduction cell
after a semicolon, such as "0134,1236;0347,1357".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.genotype import CELL_TYPES, edge_count

Kept = dict[str, np.ndarray]


def text_of(kept: Mapping[str, np.ndarray]) -> str:
    """The text of kept operations."""
    return ";".join(",".join("".join(map(str, np.flatnonzero(row))) for row in kept[kind]) for kind in CELL_TYPES)


def kept_of(text: str, nodes: int, primitives: Sequence[str]) -> Kept | None:
    """The kept operations of a text; None for all, if it is empty.

    Raises: InputError unless it names columns for every edge of both cells, among them an operation other than `none`.
    """
    if not text:
        return None
    cells, edges = [cell.split(",") for cell in text.split(";")], edge_count(nodes)
    if len(cells) != len(CELL_TYPES) or {len(cell) for cell in cells} != {edges}:
        raise InputError(
            f"operations={shown(text)}: expected two cells of {edges} edges, the columns that each keeps, as 012,13;02,3"
        )
    kept = {kind: np.zeros((edges, len(primitives)), bool) for kind in CELL_TYPES}
    for kind, cell in zip(CELL_TYPES, cells, strict=True):
        for row, columns in zip(kept[kind], cell, strict=True):
            numbers = [int(digit) if digit.isdecimal() and digit.isascii() else len(row) for digit in columns]
            if any(number >= len(row) for number in numbers) or all(primitives[number] == "none" for number in numbers):
                raise InputError(
                    f"operations has {shown(columns)} for an edge: expected columns from 0 to {len(row) - 1}, one of them an "
                    "operation other than none"
                )
            row[numbers] = True
    return kept


def strongest(alphas: Mapping[str, Any], count: int, kept: Mapping[str, np.ndarray] | None = None) -> Kept:
    """The `count` operations of each edge with the largest alphas among those that it has; ties go to the lower index."""
    result = {}
    for kind in CELL_TYPES:
        logits = np.asarray(alphas[kind])
        logits = logits if kept is None else np.where(kept[kind], logits, -np.inf)
        first = np.argsort(-logits, axis=1, kind="stable")[:, :count]
        result[kind] = np.zeros(logits.shape, bool)
        np.put_along_axis(result[kind], first, True, axis=1)
    return result
