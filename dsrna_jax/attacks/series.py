"""Attacks one after the other on a whole data set: only examples that are still robust go on to the next.

They are gathered into batches of one fixed size, the last one filled up, so that nothing is compiled twice.
"""

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

from dsrna_jax.attacks.losses import runner_up
from dsrna_jax.attacks.result import AttackResult, example_keys, folded


class Stage(NamedTuple):
    """A member of a series.

    name: in tables; what is drawn depends on it. attack: a function of `dsrna_jax.attacks`.
    options: (name, value) pairs of its static options. numbers: the same of options that are traced: stages that differ in name
      and numbers alone share a program.
    runs: how often it runs, with fresh keys, each time on what is still robust.
    is_targeted: run i pulls towards the i-th likeliest of the wrong classes, for as many as there are.
    """

    name: str
    attack: Callable[..., AttackResult]
    options: tuple[tuple[str, Any], ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()
    runs: int = 1
    is_targeted: bool = False


class Batch(NamedTuple):
    """What one run of a stage did to the examples `indices`, its batch `number`.

    result: NumPy arrays, one row for each of them. unconfirmed: how many successes the last forward pass denied.
    """

    stage: str
    run: int
    number: int
    indices: np.ndarray
    result: AttackResult
    unconfirmed: int


def stage_key(key: Array, stage: Stage) -> Array:
    """The key of a stage; example i of the data set draws from `example_keys` of it."""
    return jax.random.fold_in(key, zlib.crc32(stage.name.encode()))


@functools.partial(jax.jit, static_argnames=("stage", "norm"))
def run_of(
    logits_fn: Partial,
    x: Array,
    y: Array,
    keys: Array,
    radius: Array,
    run: Array,
    numbers: Mapping[str, Array] | None = None,
    *,
    stage: Stage,
    norm: str,
) -> AttackResult:
    """One run of a stage on a batch, as a compiled program; `numbers` replace those of the stage, and are traced."""
    options = {**dict(stage.options), **dict(stage.numbers), **(numbers or {})}
    if stage.is_targeted:
        options["target"] = runner_up(logits_fn(x), y, run + 1)
    return stage.attack(logits_fn, x, y, folded(keys, run), radius=radius, norm=norm, **options)


@jax.jit
def predictions(logits_fn: Partial, x: Array) -> Array:
    """[batch]: the class with the highest logit, in full float32, as a compiled program."""
    with jax.default_matmul_precision("highest"):
        return logits_fn(x).argmax(1)


def predicted(logits_fn: Callable, x: np.ndarray, batch_size: int) -> np.ndarray:
    """[examples]: the class with the highest logit."""
    network, found = as_partial(logits_fn), np.empty(len(x), int)
    for indices, padded in batches(np.arange(len(x)), batch_size):
        found[indices] = np.asarray(predictions(network, x[padded]))[: len(indices)]
    return found


def as_partial(logits_fn: Callable) -> Partial:
    """`logits_fn` as a pytree, which programs take as an argument.

    The arguments of a `jax.tree_util.Partial`, such as the weights, are traced: another checkpoint compiles nothing. What any
    other function closes over is part of its program.
    """
    return logits_fn if isinstance(logits_fn, Partial) else Partial(logits_fn)


def drawn(logits_fn: Partial, key: Array, x: Array) -> Array:
    """Logits of a network that draws at random, for one draw: `Partial(drawn, logits_fn, key)` is a network that does not."""
    return logits_fn(x, key)


def batches(indices: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`indices` in parts of at most `batch_size`, and each part filled up to it by repeating itself."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        yield part, np.resize(part, batch_size)


def run_series(
    logits_fn: Callable,
    stages: Sequence[Stage],
    x: np.ndarray,
    y: np.ndarray,
    key: Array,
    *,
    radius: float,
    norm: str,
    batch_size: int,
    robust: np.ndarray,
    known: Mapping[tuple[str, int, int], np.ndarray] | None = None,
    place: Callable[[Any], Any] = lambda batch: batch,
    is_random: bool = False,
) -> Iterator[Batch]:
    """Yields what each run of each stage does, batch by batch, and marks in `robust` what falls.

    Args:
      x, y: the whole data set; what example i draws depends on key and i, not on its batch.
      robust: [examples] bool, those that count as robust so far; changed in place.
      known: examples that fell in a batch of a run before this one, by (stage, run, number of the batch): it is not run again.
      place: puts a batch on devices.
      is_random: whether the network is one that takes a key, `logits_fn(x, key)`; all stages must then have `draws` > 1.
    """
    network = as_partial(logits_fn)
    judge = Partial(drawn, network, key) if is_random else network
    classes = jax.eval_shape(judge, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)).shape[1]
    for stage in stages:
        own, program = stage_key(key, stage), stage._replace(name="", numbers=(), runs=1)
        numbers = {name: np.asarray(value, np.int32 if isinstance(value, int) else np.float32) for name, value in stage.numbers}
        for run in range(min(stage.runs, classes - 1) if stage.is_targeted else stage.runs):
            for number, (indices, padded) in enumerate(batches(np.flatnonzero(robust), batch_size)):
                if known and (stage.name, run, number) in known:
                    robust[known[stage.name, run, number]] = False
                    continue
                batch = place((x[padded], y[padded], example_keys(own, padded)))
                found = run_of(network, *batch, np.float32(radius), np.int32(run), numbers, stage=program, norm=norm)
                claimed = np.asarray(found.success)[: len(indices)]
                # A forward pass by itself has the last word.
                success = predictions(judge, found.x_adv) != y[padded]
                found = AttackResult(*(np.asarray(part)[: len(indices)] for part in found._replace(success=success)))
                robust[indices[found.success]] = False
                yield Batch(stage.name, run, number, indices, found, int((claimed & ~found.success).sum()))
