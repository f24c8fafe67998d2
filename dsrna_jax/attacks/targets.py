"""Attacks towards each of several classes."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.losses import runner_up
from dsrna_jax.attacks.result import AttackResult, LogitsFn, repeated


def towards_each(
    attack: Callable[..., AttackResult],
    targets: int | None,
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch *image"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None,
) -> AttackResult:
    """The worst result for each example of an attack towards the `targets` likeliest wrong classes; None for all of them.

    attack: a function (logits_fn, images, labels, key, *, target), with a key of its own for each target.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    logits, keys = logits_fn(images), None if key is None else example_keys(key, len(images))

    def run(i):
        own = None if keys is None else folded(keys, i)
        return attack(logits_fn, images, labels, own, target=runner_up(logits, labels, i + 1))

    wrong = logits.shape[1] - 1
    return repeated(run, min(targets or wrong, wrong), images)
