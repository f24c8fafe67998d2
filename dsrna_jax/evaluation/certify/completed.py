"""Records of the batches that a certification has completed."""

from collections.abc import Sequence
from typing import Any

from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify.radii import MINIMUM
from dsrna_jax.evaluation.folder import completed_rows
from dsrna_jax.runtime.options import interval
from dsrna_jax.runtime.records import Records
from dsrna_jax.strict_json import Nullable, Optional

_SIZES = [Nullable(interval("[0, 1e9]"))]  # null where infinite


def certified_rows(records: Records, sizes: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The rows of a certification in batches of these sizes, by the number of the batch.

    Raises: InputError, which names the file, if a row is damaged, occurs twice, or is of another certification.
    """
    rows = completed_rows(records, lambda row: _shape_of(row, sizes))
    numbers = [row["batch"] for row in rows]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise InputError(f"{records.path} holds batch {min(twice)} twice: delete one of its lines")
    if len({(tuple(row["radius"]), row["attack_radius"] is None, "smoothed" in row) for row in rows}) > 1:
        raise InputError(f"{records.path} holds batches of different certifications: delete it to begin anew")
    return dict(sorted(zip(numbers, rows, strict=True)))


def _shape_of(row: dict[str, Any], sizes: Sequence[int]) -> dict[str, Any]:
    number, radius = row.get("batch"), row.get("radius")
    lists = [row.get(name) for name in ("predictions", "attack_radius", "smoothed")]
    lists += list(radius.values()) if isinstance(radius, dict) else []
    if isinstance(number, int) and 0 <= number < len(sizes):
        if any(isinstance(values, list) and len(values) != sizes[number] for values in lists):
            raise InputError(f"expected {sizes[number]} examples in batch {number}")
    return {
        "batch": (int, interval(f"[0, {len(sizes) - 1}]")),
        "predictions": [(int, interval("[0, 1e9]"))],
        "attack_radius": Nullable(_SIZES),
        "smoothed": Optional([(int, interval("[-1, 1e9]"))]),
        "radius": {MINIMUM: _SIZES, **({name: _SIZES for name in radius} if isinstance(radius, dict) else {})},
        "seconds": interval("[0, 1e9]"),
    }
