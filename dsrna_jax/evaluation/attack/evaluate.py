"""A network under attack: rows of attacks on the images that it gets right, batch by batch; what is done is not done again."""

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from dsrna_jax.attacks.series import as_partial, predicted, run_series
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.attack import sanity
from dsrna_jax.evaluation.attack.budgets import Row, curve_rows, rows
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.evaluation.attack.sanity import Check
from dsrna_jax.runtime.signals import Stopped


class Outcome(NamedTuple):
    """What a row did to the images.

    robust: [examples] bool, predicted rightly and still so under attack. distance: [examples], of rows that look for the
      smallest perturbation: its size, 0 where the image itself is misclassified, infinite where none was found.
    after: the share that is robust after each stage. seconds: it took. broken: results outside of ball or box, or not finite.
    unconfirmed: successes that the last forward pass denied.
    """

    row: Row
    robust: np.ndarray
    distance: np.ndarray | None
    after: dict[str, float]
    seconds: float
    broken: int
    unconfirmed: int


class Evaluation(NamedTuple):
    """A network under attack: `predictions` [examples] of the clean images, and what each row of the table came to.

    worst: [examples] bool, robust under every row of the configuration's norm and radius. curve: FGSM and PGD at several
    radii, on the first `probed` examples.
    """

    predictions: np.ndarray
    clean: np.ndarray
    table: list[Outcome]
    worst: np.ndarray
    curve: list[Outcome]
    probed: int
    checks: list[Check]


class Memory:
    """Where an evaluation keeps what it has done: records of batches, in a list or, by `Records`, in a file."""

    def __init__(self, kept: Sequence[dict[str, Any]] = (), write: Callable[[dict[str, Any]], None] = lambda record: None):
        self._kept: dict[str, list[dict[str, Any]]] = {}
        for record in kept:
            self._kept.setdefault(record["row"], []).append(record)
        self._write = write

    def of(self, row: str) -> list[dict[str, Any]]:
        """The records of a row."""
        return self._kept.setdefault(row, [])

    def add(self, record: dict[str, Any]) -> None:
        self.of(record["row"]).append(record)
        self._write(record)


class Silence:
    """Takes progress and says nothing."""

    def update(self, step: int, **columns: Any) -> None:
        """As `records.Progress.update`."""

    def note(self, text: str) -> None:
        """As `records.Progress.note`."""


def work(config: AttackConfig, classes: int, examples: int) -> int:
    """How much an evaluation has to do at most, in forward passes: what `progress` counts to."""
    probed = min(config.probe_examples, examples)
    of_probe = sanity.COST + sum(row.cost for row in curve_rows(config))
    return examples * sum(row.cost for row in rows(config, classes)) + probed * of_probe


def check_images(x: np.ndarray, y: np.ndarray) -> None:
    """Raises: InputError unless x are images [examples, height, width, channel] in [0, 1], and y their labels."""
    if x.ndim != 4 or not np.issubdtype(x.dtype, np.floating):
        raise InputError(f"images must be floating point [examples, height, width, channel], got {x.dtype} {x.shape}")
    if not len(x):
        raise InputError("no images to attack: expected at least one")
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"images must be in [0, 1], got values from {low:g} to {high:g}: divide bytes by 255, do not normalise")
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"labels must be integers, one for each of {len(x)} images, got {y.dtype} {y.shape}")


def evaluate(
    logits_fn: Callable,
    x: np.ndarray,
    y: np.ndarray,
    config: AttackConfig,
    *,
    memory: Memory | None = None,
    progress: Any = None,
    place: Callable[[Any], Any] = lambda batch: batch,
    requests: Sequence[int] = (),
    surrogate: Callable | None = None,
) -> Evaluation:
    """Runs the attacks of a configuration on all of x, and the sanity checks.

    Every row by itself meets all images that are predicted rightly; inside a row that is a series, only what is still robust
    goes on. Results depend on neither batch size nor order but for rounding, and are those of an unbroken evaluation if
    `memory` holds a part of them.

    Args:
      logits_fn: as attacks take it; as a `jax.tree_util.Partial` of its weights it compiles nothing for another checkpoint.
      x: [examples, height, width, channel] in [0, 1]. y: [examples], labels.
      config: its examples, split and data_dir are the caller's business.
      progress: a `records.WorkProgress` of `work` steps.
      place: puts a batch on devices. requests: not empty once the evaluation is to end (`interruption.stop_requests`).
      surrogate: another network for the same images, for one more sanity check.
    Raises: InputError if images or labels are none, or if logits depend on the other images of a batch; Stopped.
    """
    x, y = np.asarray(x), np.asarray(y)
    check_images(x, y)
    network = as_partial(logits_fn)
    classes = jax.eval_shape(network, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)).shape[1]
    if y.min() < 0 or y.max() >= classes:
        raise InputError(
            f"labels go from {y.min()} to {y.max()}, but the network has {classes} classes: expected 0 to {classes - 1}"
        )
    _refuse_what_fails(network, x, config)
    job = _Job(network, x, y, config, memory or Memory(), progress or Silence(), place, requests, surrogate)
    return job.run(rows(config, classes), curve_rows(config))


def _refuse_what_fails(network, x, config):
    """Raises: InputError for what makes every number below meaningless, and not only suspect."""
    some = x[np.resize(np.arange(len(x)), max(2, min(config.batch_size, 64)))]
    found = {check.name: check for check in sanity.forward_checks(network, some, config.size, config.norm)}
    if found["logits"].value is None:
        raise InputError("logits are not finite: expected those of a network whose training went well")
    if found["batch neighbours"].status == "WARN":
        raise InputError(
            f"{found['batch neighbours'].says}: expected a network in evaluation mode (batch norm by running statistics, "
            "no dropout), whose logits of an image are its own"
        )


class _Job:
    """The rows, one after the other, and where they are."""

    def __init__(self, network: Partial, x, y, config, memory, progress, place, requests, surrogate):
        self.network, self.x, self.y, self.config, self.place, self.surrogate = network, x, y, config, place, surrogate
        self.memory, self.progress, self.requests = memory, progress, requests
        self.key, self.done = jax.random.key(config.seed), 0

    def run(self, table: Sequence[Row], curve: Sequence[Row]) -> Evaluation:
        config, probed = self.config, min(self.config.probe_examples, len(self.x))
        predictions = predicted(self.network, self.x, config.batch_size)
        clean = predictions == self.y
        self.progress.note(f"clean: {clean.mean():.1%} of {len(clean)}")
        found = []
        for number, row in enumerate(table, start=1):
            found.append(self.outcome("", row, clean, f"{row.name} ({number}/{len(table)})"))
            self.progress.note(_line(found[-1]))
        worst = clean.copy()
        for outcome in found:
            if (outcome.row.norm, outcome.row.radius) == (config.norm, config.size):
                worst &= outcome.robust
        of_curve = [self.outcome("curve ", row, clean[:probed], f"curve, {row.name}") for row in curve]
        checks = [*_of_results([*found, *of_curve]), *self.checks(probed)]
        return Evaluation(predictions, clean, found, worst, of_curve, probed, checks)

    def outcome(self, prefix: str, row: Row, clean: np.ndarray, label: str) -> Outcome:
        """One row on the first images, as many as `clean` has."""
        total, before = len(clean), self.done
        name, robust, share = prefix + row.key, clean.copy(), row.cost / sum(stage.runs for stage in row.stages)
        records = self.memory.of(name)
        known = {(r["stage"], r["run"], r["batch"]): np.asarray(r["fell"], int) for r in records}
        settings = {"norm": row.norm, "batch_size": self.config.batch_size, "robust": robust, "known": known}
        began, radius = time.monotonic(), np.inf if row.is_nearest else row.radius
        x, y = self.x[:total], self.y[:total]
        for batch in run_series(self.network, row.stages, x, y, self.key, radius=radius, place=self.place, **settings):
            fell = batch.indices[batch.result.success]
            record = {"row": name, "stage": batch.stage, "run": batch.run, "batch": batch.number, "fell": fell.tolist()}
            if row.is_nearest:
                record["distances"] = batch.result.distance[batch.result.success].tolist()
            broken = _broken(batch, x[batch.indices], radius)
            now = time.monotonic()
            self.memory.add({**record, "broken": broken, "unconfirmed": batch.unconfirmed, "seconds": round(now - began, 3)})
            began = now
            self.done = min(self.done + len(batch.indices) * share, before + row.cost * total)
            self._tell(label, batch, robust, clean)
        self.done = before + row.cost * total
        return self._outcome(row, records, clean)

    def _tell(self, label, batch, robust, clean):
        met = clean.copy()
        if batch.run == 0:
            met[batch.indices[-1] + 1 :] = False
        so_far = float(clean.mean() * robust[met].mean())
        last = -(-int(clean.sum()) // self.config.batch_size)
        self.progress.update(int(self.done), attack=label, batch=f"{batch.number + 1}/{last}", robust_accuracy=so_far)
        self._stop_if_asked()

    def _stop_if_asked(self):
        if self.requests:
            raise Stopped(self.requests[0], f"stopped by {signal.Signals(self.requests[0]).name}; every batch so far is kept")

    def _outcome(self, row, records, clean):
        robust, after, distance = clean.copy(), {}, None
        if row.is_nearest:
            distance = np.where(clean, np.inf, 0)
            for record in records:
                distance[record["fell"]] = record["distances"]
            robust = distance > row.radius
        for stage in row.stages if not row.is_nearest else ():
            for record in records:
                if record["stage"] == stage.name:
                    robust[record["fell"]] = False
            after[stage.name] = float(robust.mean())
        sums = (sum(record[name] for record in records) for name in ("seconds", "broken", "unconfirmed"))
        return Outcome(row, robust, distance, after, *sums)

    def checks(self, probed: int) -> list[Check]:
        """The sanity checks, made or remembered."""
        if remembered := self.memory.of("checks"):
            return [Check(**check) for check in remembered[0]["checks"]]
        found, config = [], self.config
        options = {"radius": config.size, "norm": config.norm, "batch_size": config.batch_size, "place": self.place}
        options |= {"surrogate": self.surrogate}
        for check in sanity.checks(self.network, self.x[:probed], self.y[:probed], self.key, **options):
            found.append(check)
            self.done += sanity.COST * probed / (sanity.COUNT + (self.surrogate is not None))
            self.progress.update(int(self.done), attack=f"sanity check: {check.name}", batch=None, robust_accuracy=None)
            self._stop_if_asked()
        self.memory.add({"row": "checks", "checks": [check._asdict() for check in found]})
        return found


def _of_results(outcomes: Sequence[Outcome]) -> list[Check]:
    """What the rows themselves tell."""
    broken, unconfirmed = (sum(getattr(o, name) for o in outcomes) for name in ("broken", "unconfirmed"))
    says = f"{broken} results outside of ball or box, or not finite; {unconfirmed} successes denied by the last forward pass"
    found = [sanity.check("perturbations", not broken, broken, says)]
    for o in outcomes:
        if o.row.is_series and "square" in o.after:
            before, last = list(o.after.values())[-2:]
            says = f"in {o.row.name}, Square fools {before - last:.1%} of the images that gradients do not"
            is_few = before - last <= max(0.002, 1.5 / len(o.robust))
            found.append(sanity.check("black box in the series", is_few, before - last, says))
    return found


def _broken(batch, x, radius) -> int:
    """How many results are not finite, or outside of ball or box."""
    x_adv, distance = batch.result.x_adv, batch.result.distance
    inside = ((x_adv >= 0) & (x_adv <= 1)).all(axis=(1, 2, 3))  # false for NaN too
    return int((~inside | ~(distance <= radius * (1 + 1e-5) + 1e-6)).sum())


def _line(outcome: Outcome) -> str:
    row = outcome.row
    return f"{row.name}: {outcome.robust.mean():.1%} robust ({row.norm}, radius {row.radius:.4g}), {outcome.seconds:.0f} s"
