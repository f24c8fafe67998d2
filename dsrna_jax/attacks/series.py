"""Series of attacks on a whole data set: only examples that are still robust go on to the next attack.

These are gathered into batches of one fixed size, the last one padded, so that each attack compiles once.
"""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Key, PRNGKeyArray

from dsrna_jax import inputs
from dsrna_jax.attacks.keys import example_keys, folded
from dsrna_jax.attacks.losses import runner_up
from dsrna_jax.attacks.predictions import are_fooled, as_partial, batches, predictions
from dsrna_jax.attacks.result import AttackResult, LogitsFn


class AttackStage(NamedTuple):
    """A member of a series.

    name: in tables; the random draws depend on it.
    attack: a function of `dsrna_jax.attacks`.
    options: (name, value) pairs of its static options.
    numbers: the same of options that are traced: stages that differ only in name and numbers share a compiled program.
    runs: number of runs, with fresh keys, each on the examples that are still robust.
    is_targeted: run i pulls towards the i-th likeliest of the wrong classes, for as many as there are.
    """

    name: str
    attack: Callable[..., AttackResult]
    options: tuple[tuple[str, Any], ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()
    runs: int = 1
    is_targeted: bool = False


class AttackBatch(NamedTuple):
    """The outcome of one run of a stage on the examples `indices`, its batch `number`.

    result: NumPy arrays, one row an example.
    unconfirmed: number of successes of the attack that the forward pass of `predictions` did not confirm.
    """

    stage: str
    run: int
    number: int
    indices: np.ndarray
    result: AttackResult
    unconfirmed: int

    @property
    def fallen(self) -> np.ndarray:
        """The examples that the run fools."""
        return self.indices[self.result.success]


def run_count(stage: AttackStage, classes: int) -> int:
    """The number of runs of a stage on a network of that many classes."""
    return min(stage.runs, classes - 1) if stage.is_targeted else stage.runs


def stage_key(key: PRNGKeyArray, stage: AttackStage) -> PRNGKeyArray:
    """The key of a stage; example i of the data set draws from `example_keys` of it."""
    return jax.random.fold_in(key, zlib.crc32(stage.name.encode()))


def uncompiled_stage_result(
    logits_fn: Partial,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    keys: Key[Array, " batch"],
    run: Int[Array, ""],
    numbers: Mapping[str, ArrayLike] | None = None,
    *,
    radius: ArrayLike,
    stage: AttackStage,
    norm: str,
) -> AttackResult:
    """The result of one run of a stage on a batch. `numbers` may be traced, and replace those of the stage."""
    options = {**dict(stage.options), **dict(stage.numbers), **(numbers or {})}
    if stage.is_targeted:
        options["target"] = runner_up(logits_fn(images), labels, run + 1)
    return stage.attack(logits_fn, images, labels, folded(keys, run), radius=radius, norm=norm, **options)


stage_result = jax.jit(uncompiled_stage_result, static_argnames=("stage", "norm"))
"""`uncompiled_stage_result`, compiled."""


def run_series(
    logits_fn: LogitsFn,
    images: Float[np.ndarray, "examples *image"],
    labels: Int[np.ndarray, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    stages: Sequence[AttackStage],
    radius: float,
    norm: str,
    batch_size: int,
    robust: Bool[np.ndarray, " examples"],
    completed: Mapping[tuple[str, int, int], Int[np.ndarray, " fallen"]] = MappingProxyType({}),
    place: Callable[[Any], Any] = lambda batch: batch,
    judge: LogitsFn | None = None,
    share: Callable[[Callable, Sequence], Iterable[Any]] = map,
) -> Iterator[Any]:
    """The `AttackBatch` of each batch of each run of each stage, in order; only examples that no earlier one fooled are attacked.

    Args:
      images, labels: the whole data set. The draws of example i depend on key and i, not on its batch.
      robust: examples that count as robust before the first stage.
      completed: of batches that an earlier call completed, by (stage, run, number of the batch), the examples that fell in it;
        such a batch is not run again and not yielded.
      place: puts a batch on devices.
      judge: the network whose forward pass confirms successes, by default `logits_fn`; that of a stochastic network, which stages
        with `draws` > 1 call as `logits_fn(images, key)`, is `Partial(with_fixed_key, logits_fn, key)`.
      share: (attack, parts) -> for each of the parts (number, indices, padded indices) of a run, in any order, `attack(part)` or
        whatever is to be yielded in its place and has `fallen`. The batches of a run do not depend on each other.
    """
    inputs.check_images(images)
    inputs.check_counts(batch_size=batch_size)
    key, robust = inputs.checked_key(key), robust.copy()
    network = as_partial(logits_fn)
    judge = network if judge is None else as_partial(judge)
    some = jax.ShapeDtypeStruct((batch_size, *images.shape[1:]), images.dtype)
    classes = inputs.class_count(jax.eval_shape(judge, some), batch_size)
    inputs.check_labels(labels, len(images), classes)

    def attacked(stage: AttackStage, run: int, part: tuple[int, np.ndarray, np.ndarray]) -> AttackBatch:
        number, indices, padded = part
        numbers = {name: np.asarray(value, np.int32 if isinstance(value, int) else np.float32) for name, value in stage.numbers}
        placed = place((images[padded], labels[padded], example_keys(stage_key(key, stage), padded)))
        program = stage._replace(name="", numbers=(), runs=1)
        size = np.asarray(radius, np.promote_types(images.dtype, np.float32))
        result = stage_result(network, *placed, np.int32(run), numbers, radius=size, stage=program, norm=norm)
        claimed = np.asarray(result.success)[: len(indices)]
        # XLA may fuse the attack's own forward pass differently: only one by itself, in full precision, confirms.
        success = are_fooled(predictions(judge, result.x_adv), labels[padded])
        result = AttackResult(*(np.asarray(values)[: len(indices)] for values in result._replace(success=success)))
        return AttackBatch(stage.name, run, number, indices, result, int((claimed & ~result.success).sum()))

    for stage in stages:
        for run in range(run_count(stage, classes)):
            parts = [(number, *part) for number, part in enumerate(batches(np.flatnonzero(robust), batch_size))]
            known = {number: completed[stage.name, run, number] for number, *_ in parts if (stage.name, run, number) in completed}
            for fallen in known.values():
                robust[fallen] = False
            for batch in share(functools.partial(attacked, stage, run), [part for part in parts if part[0] not in known]):
                robust[batch.fallen] = False
                yield batch
