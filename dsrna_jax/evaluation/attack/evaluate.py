"""A network under attack: rows of attacks on the images that it classifies correctly, batch by batch; resumable."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from dsrna_jax.attacks.predictions import as_partial, clean_predictions
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.attacks.series import AttackBatch, run_series
from dsrna_jax.evaluation.attack import sanity
from dsrna_jax.evaluation.attack.budgets import AttackRow, attack_rows, curve_rows
from dsrna_jax.evaluation.attack.completed import CompletedBatch, CompletedBatches
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.inputs import check_inputs
from dsrna_jax.evaluation.attack.outcomes import AttackOutcome, Evaluation, broken_results, outcome_checks, outcome_of
from dsrna_jax.evaluation.attack.sanity import Check
from dsrna_jax.evaluation.setup import stop_if_requested
from dsrna_jax.runtime.processes import current


@runtime_checkable
class WorkDisplay(Protocol):
    """A display of progress, such as `runtime.progress.WorkProgress`."""

    def update(self, step: int, **columns: Any) -> None:
        """Shows that `step` forward passes are done."""

    def note(self, text: str) -> None:
        """Shows a line that stays."""


class NoProgress:
    """A display that shows nothing."""

    def update(self, step: int, **columns: Any) -> None:
        """Ignores the steps done."""

    def note(self, text: str) -> None:
        """Ignores the line."""


def work(config: AttackConfig, classes: int, examples: int) -> int:
    """Upper bound of the forward passes of an evaluation: the total of its progress."""
    probed = min(config.probe_examples, examples)
    of_probe = sanity.COST + sum(row.cost for row in curve_rows(config))
    return examples * sum(row.cost for row in attack_rows(config, classes)) + probed * of_probe


def evaluate(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "examples height width channel"],
    labels: Int[np.ndarray, " examples"],
    config: AttackConfig,
    *,
    completed: CompletedBatches | None = None,
    progress: WorkDisplay | None = None,
    place: Callable[[Any], Any] = lambda batch: batch,
    requests: Sequence[int] = (),
    surrogate: LogitsFn | None = None,
) -> Evaluation:
    """Runs the attacks of a configuration on all images, and the sanity checks.

    Every row attacks all images that are classified correctly; of a row's stages, each attacks those that are still robust.
    Results do not depend on the batch size and the order, up to rounding. Batches in `completed` are not run again, and the
    results are those of an unbroken evaluation. The processes of a run (`runtime.processes`) share out the batches of each run of
    a stage, with the results of one process; process 0 makes the sanity checks.

    Args:
      logits_fn: as attacks take it; a `jax.tree_util.Partial` of its weights lets other checkpoints share the compiled programs.
      images: in [0, 1].
      config: its `examples`, `split` and `data_dir` are ignored.
      progress: a display whose total is `work`.
      place: puts a batch on devices.
      requests: not empty once the evaluation must end (`signals.stop_requests`).
      surrogate: another network for the same images, for one more sanity check, or None.
    Raises: InputError if images or labels are not as above, or if logits depend on the other images of a batch; Stopped.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    network = as_partial(logits_fn)
    classes = check_inputs(network, images, labels, config, None if surrogate is None else as_partial(surrogate))
    fixed = _Fixed(network, images, labels, jax.random.key(config.seed), config, completed or CompletedBatches(), place)
    meter = _Meter(progress or NoProgress(), requests)
    rows, probed = attack_rows(config, classes), min(config.probe_examples, len(images))
    _, predictions = clean_predictions(network, images, labels, config.batch_size, warns=False)  # a sanity check does
    predictions = np.array(current().decided(predictions.tolist()), predictions.dtype)
    clean = predictions == labels
    meter.progress.note(f"clean: {clean.mean():.1%} of {len(clean)}")
    table = []
    for number, row in enumerate(rows, start=1):
        table.append(_outcome(fixed, meter, row, clean, row.key, f"{row.name} ({number}/{len(rows)})"))
        meter.progress.note(str(table[-1]))
    counted = [outcome.robust for outcome in table if (outcome.row.norm, outcome.row.radius) == (config.norm, config.size)]
    worst = np.logical_and.reduce([clean, *counted])
    curve = [_outcome(fixed, meter, row, clean[:probed], f"curve {row.key}", f"curve, {row.name}") for row in curve_rows(config)]
    checks = [*outcome_checks([*table, *curve]), *_sanity_checks(fixed, meter, probed, surrogate)]
    return Evaluation(predictions, clean, table, worst, curve, probed, checks)


@dataclass(frozen=True)
class _Fixed:
    """The constants of an evaluation."""

    network: Partial
    images: Float[np.ndarray, "examples height width channel"]
    labels: Int[np.ndarray, " examples"]
    key: PRNGKeyArray
    config: AttackConfig
    completed: CompletedBatches
    place: Callable[[Any], Any]


@dataclass
class _Meter:
    """Forward passes done so far: the state of an evaluation, beside its completed batches."""

    progress: WorkDisplay
    requests: Sequence[int]
    done: float = 0.0

    def show(self, done: float, **columns: Any) -> None:
        """Shows progress after a batch or a check. Raises: Stopped if the evaluation must end."""
        self.done = done
        self.progress.update(int(done), **columns)
        stop_if_requested(self.requests, "every batch so far is kept", self.progress)


def _outcome(
    fixed: _Fixed, meter: _Meter, row: AttackRow, clean: Bool[np.ndarray, " examples"], name: str, label: str
) -> AttackOutcome:
    """The result of a row on the first len(clean) images; `name` is its name in records, `label` in progress."""
    total, before, batch_size = len(clean), meter.done, fixed.config.batch_size
    cost_of_run = row.cost / sum(stage.runs for stage in row.stages)
    robust = clean.copy()
    for fallen in fixed.completed.fallen(name).values():
        robust[fallen] = False
    radius = np.inf if row.is_nearest else row.radius

    def share(attack: Callable[[Any], AttackBatch], parts: Sequence[Any]) -> Iterator[CompletedBatch]:
        def recorded(part: Any) -> dict[str, Any]:
            began = time.monotonic()
            return _record(name, row, attack(part), radius, time.monotonic() - began)

        return (CompletedBatch(part[1], record) for part, record in current().shared_out(recorded, parts))

    batches: Iterable[CompletedBatch] = run_series(
        fixed.network, fixed.images[:total], fixed.labels[:total], fixed.key, stages=row.stages, radius=radius, norm=row.norm,
        batch_size=batch_size, robust=clean, completed=fixed.completed.fallen(name), place=fixed.place, share=share,
    )  # fmt: skip
    for batch in batches:
        fixed.completed.add(batch.record)
        robust[batch.fallen] = False
        reached = clean.copy()  # the examples that the stage has attacked
        if batch.record["run"] == 0:
            reached[batch.indices[-1] + 1 :] = False
        meter.show(
            min(meter.done + len(batch.indices) * cost_of_run, before + row.cost * total),
            attack=label,
            batch=f"{batch.record['batch'] + 1}/{-(-int(clean.sum()) // batch_size)}",
            robust_accuracy=float(clean.mean() * robust[reached].mean()),
        )
    meter.done = before + row.cost * total
    return outcome_of(row, fixed.completed.of(name), clean)


def _record(name: str, row: AttackRow, batch: AttackBatch, radius: float, seconds: float) -> dict[str, Any]:
    """The record of a completed batch."""
    record = {"row": name, "stage": batch.stage, "run": batch.run, "batch": batch.number, "fell": batch.fallen.tolist()}
    if row.is_nearest:
        record["distances"] = batch.result.distance[batch.result.success].tolist()
    broken = broken_results(batch, radius)
    return {**record, "broken": broken, "unconfirmed": batch.unconfirmed, "seconds": round(seconds, 3)}


def _sanity_checks(fixed: _Fixed, meter: _Meter, probed: int, surrogate: LogitsFn | None) -> list[Check]:
    """The sanity checks on the first `probed` images, by process 0 or read from the record of an earlier run."""
    if not fixed.completed.of("checks"):
        checks = _computed_checks(fixed, meter, probed, surrogate) if current().is_first else []
        fixed.completed.add({"row": "checks", "checks": current().decided([check._asdict() for check in checks])})
    return [Check(**entry) for entry in fixed.completed.of("checks")[0]["checks"]]


def _computed_checks(fixed: _Fixed, meter: _Meter, probed: int, surrogate: LogitsFn | None) -> list[Check]:
    checks, config = [], fixed.config
    cost = sanity.COST * probed / (sanity.COUNT + (surrogate is not None))
    for check in sanity.checks(
        fixed.network, fixed.images[:probed], fixed.labels[:probed], fixed.key, radius=config.size, norm=config.norm,
        batch_size=config.batch_size, place=fixed.place, surrogate=surrogate,
    ):  # fmt: skip
        checks.append(check)
        meter.show(meter.done + cost, attack=f"sanity check: {check.name}", batch=None, robust_accuracy=None)
    return checks
