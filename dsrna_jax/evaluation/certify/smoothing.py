"""Randomised smoothing (Cohen et al. 2019, arXiv:1902.02918): l2 radii of g(x) = the likeliest class of f(x + sigma * noise).

The certificate is one of g, not of f, and holds for each example with probability 1 - alpha. Networks that were not trained on
noise of that size are smoothed into guessing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy import stats

from dsrna_jax.attacks.result import folded

ABSTAINED = -1


class Smoothed(NamedTuple):
    """classes: [batch], what g says, or `ABSTAINED`. radius: [batch], of the l2 ball in which it says so; 0 if it abstains."""

    classes: np.ndarray
    radius: np.ndarray


@functools.partial(jax.jit, static_argnames="chunk")
def counts_of(logits_fn: Partial, x: Array, keys: Array, sigma: Array, first: Array, last: Array, *, chunk: int) -> Array:
    """How often each class wins under the draws number `first` up to `last`, at most `chunk` of them: [batch, classes].

    Draw i of an example depends on its key in `keys` [batch] and on i alone, so neither batch nor chunk matters.
    """
    numbers = first + jnp.arange(chunk)

    def draws(key, image):
        noise = jax.vmap(lambda key: jax.random.normal(key, image.shape, image.dtype))(folded(key, numbers))
        return image + sigma * noise

    points = jax.vmap(draws)(keys, x)  # not clipped to [0, 1]: the theorem is about the noise as it is
    logits = logits_fn(points.reshape(-1, *x.shape[1:]))
    winners = jax.nn.one_hot(logits.argmax(1), logits.shape[1], dtype=jnp.int32).reshape(len(x), chunk, -1)
    return jnp.where((numbers < last)[:, None], winners, 0).sum(1)


def class_counts(
    logits_fn: Partial, x: Array, keys: Array, *, sigma: float, first: int, samples: int, chunk: int,
    pause: Callable[[], None] = lambda: None,
) -> np.ndarray:  # fmt: skip
    """`counts_of` the draws number `first` to `first + samples`: [batch, classes]. `pause` is called between two chunks."""
    total, last = 0, first + samples
    for start in range(first, last, chunk):
        total = total + np.asarray(counts_of(logits_fn, x, keys, np.float32(sigma), start, last, chunk=chunk), np.int64)
        pause()
    return total


def lower_share(successes: np.ndarray, trials: np.ndarray, alpha: float) -> np.ndarray:
    """What the true share lies below with probability at most `alpha`, whatever it is (Clopper and Pearson 1934): [...]."""
    return np.where(successes > 0, stats.beta.ppf(alpha, np.maximum(successes, 1), trials - successes + 1), 0.0)


def certificate(selection: np.ndarray, counts: np.ndarray, *, sigma: float, alpha: float) -> Smoothed:
    """What g says and how far that holds: CERTIFY of the paper.

    Args:
      selection: [batch, classes] counts of a few draws, which name the class. counts: of others, which prove it.
    """
    classes = selection.argmax(1)
    won = np.take_along_axis(counts, classes[:, None], 1)[:, 0]
    share = lower_share(won, counts.sum(1), alpha)
    # Below one half nothing is known, and g abstains.
    radius = np.where(share > 0.5, sigma * stats.norm.ppf(share), 0.0)
    return Smoothed(np.where(share >= 0.5, classes, ABSTAINED), radius)
