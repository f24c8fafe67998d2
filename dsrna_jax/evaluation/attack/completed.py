"""Records of the batches that an evaluation under attack has completed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import interval
from dsrna_jax.strict_json import Nullable, Optional

_NUMBER, _SIZE = (int, interval("[0, 1e9]")), interval("[0, 1e9]")
_CHECKS = {"checks": [{"name": str, "status": frozenset({"PASS", "WARN"}), "value": Nullable(float), "says": str}]}


def shape_of(record: dict[str, Any], examples: int) -> dict[str, Any]:
    """The shape of a record in an evaluation of `examples` images. Raises: InputError if its lists differ in length."""
    if record.get("row") == "checks":
        return _CHECKS
    fell, distances = record.get("fell"), record.get("distances")
    if isinstance(fell, list) and isinstance(distances, list) and len(fell) != len(distances):
        raise InputError(f"expected as many distances as examples that fell, {len(fell)}, got {len(distances)}")
    numbers = dict.fromkeys(("run", "batch", "broken", "unconfirmed"), _NUMBER)
    index = (int, interval(f"[0, {examples - 1}]"))
    return {"row": str, "stage": str, **numbers, "fell": [index], "distances": Optional([_SIZE]), "seconds": _SIZE}


class CompletedBatch(NamedTuple):
    """A batch that this process or another has completed: the examples that were attacked, and the record."""

    indices: np.ndarray
    record: dict[str, Any]

    @property
    def fallen(self) -> np.ndarray:
        """The examples that fell."""
        return np.asarray(self.record["fell"], int)


class CompletedBatches:
    """Records of completed batches by row of the table, kept in memory and passed to `write`, such as that of a file."""

    def __init__(self, records: Sequence[dict[str, Any]] = (), write: Callable[[dict[str, Any]], None] = lambda record: None):
        self._records: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            self.of(record["row"]).append(record)
        self._write = write

    def of(self, row: str) -> list[dict[str, Any]]:
        """The records of a row."""
        return self._records.setdefault(row, [])

    def fallen(self, row: str) -> dict[tuple[str, int, int], np.ndarray]:
        """The examples that fell in each batch of a row, by (stage, run, number of the batch)."""
        return {(r["stage"], r["run"], r["batch"]): np.asarray(r["fell"], int) for r in self.of(row)}

    def add(self, record: dict[str, Any]) -> None:
        """Keeps and writes the record of a batch."""
        self.of(record["row"]).append(record)
        self._write(record)
