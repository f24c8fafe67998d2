"""The results of an evaluation under attack: of each row, and of all."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dsrna_jax.attacks.series import AttackBatch
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack.budgets import AttackRow
from dsrna_jax.evaluation.attack.sanity import Check, check


class AttackOutcome(NamedTuple):
    """The result of a row of attacks.

    robust: whether each example is classified correctly, also under attack.
    distance: for rows that look for the smallest perturbation, its size; 0 for misclassified images, infinite if none was found.
    after: the share that is robust after each stage.
    seconds: time of all batches.
    broken: number of results outside of ball or box, or not finite.
    unconfirmed: number of successes that a forward pass by itself did not confirm.
    """

    row: AttackRow
    robust: Bool[np.ndarray, " examples"]
    distance: Float[np.ndarray, " examples"] | None
    after: dict[str, float]
    seconds: float
    broken: int
    unconfirmed: int

    def __str__(self):
        row = self.row
        return f"{row.name}: {self.robust.mean():.1%} robust ({row.norm}, radius {row.radius:.4g}), {self.seconds:.0f} s"


class Evaluation(NamedTuple):
    """The results of all rows.

    predictions: the class predicted for each image.
    clean: whether that is the label.
    worst: whether it stays so under every row of the configuration's norm and radius.
    curve: FGSM and PGD at several radii, on the first `probed` examples.
    """

    predictions: Int[np.ndarray, " examples"]
    clean: Bool[np.ndarray, " examples"]
    table: list[AttackOutcome]
    worst: Bool[np.ndarray, " examples"]
    curve: list[AttackOutcome]
    probed: int
    checks: list[Check]


def outcome_of(row: AttackRow, records: Sequence[dict[str, Any]], clean: Bool[np.ndarray, " examples"]) -> AttackOutcome:
    """The result of a row from the records of its batches; `clean`: the examples that are classified correctly.

    Raises: InputError if a record lacks the distances of its row.
    """
    robust, after, distance = clean.copy(), {}, None
    if row.is_nearest:
        distance = np.where(clean, np.inf, 0)
        if any("distances" not in record for record in records):
            raise InputError(f"a recorded batch of {row.name} lacks its distances: delete batches.jsonl to begin anew")
        for record in records:
            distance[record["fell"]] = record["distances"]
        robust = distance > row.radius
    else:
        for stage in row.stages:
            for record in records:
                if record["stage"] == stage.name:
                    robust[record["fell"]] = False
            after[stage.name] = float(robust.mean())
    sums = (sum(record[name] for record in records) for name in ("seconds", "broken", "unconfirmed"))
    return AttackOutcome(row, robust, distance, after, *sums)


def broken_results(batch: AttackBatch, radius: float) -> int:
    """Number of results of a batch that are not finite, or outside of ball or box."""
    x_adv, distance = batch.result.x_adv, batch.result.distance
    is_inside = ((x_adv >= 0) & (x_adv <= 1)).all(axis=(1, 2, 3))  # false for NaN too
    return int((~is_inside | ~(distance <= radius * (1 + 1e-5) + 1e-6)).sum())


def outcome_checks(outcomes: Sequence[AttackOutcome]) -> list[Check]:
    """Sanity checks of the rows themselves: perturbations are valid, and Square adds little to attacks by gradients."""
    broken, unconfirmed = (sum(getattr(o, name) for o in outcomes) for name in ("broken", "unconfirmed"))
    says = f"{broken} results outside of ball or box, or not finite; {unconfirmed} successes denied by the last forward pass"
    checks = [check("perturbations", not broken, broken, says)]
    for o in outcomes:
        if o.row.is_series and "square" in o.after:
            before, last = list(o.after.values())[-2:]
            says = f"in {o.row.name}, Square fools {before - last:.1%} of the images that gradients do not"
            is_few = before - last <= max(0.002, 1.5 / len(o.robust))
            checks.append(check("black box in the series", is_few, before - last, says))
    return checks
