"""Records of the batches that an evaluation under attack has completed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class CompletedBatches:
    """Records of completed batches by row of the table, kept in memory and handed to `write`, such as that of a file."""

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
