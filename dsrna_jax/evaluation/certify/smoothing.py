"""Randomised smoothing (Cohen et al. 2019, arXiv:1902.02918): l2 radii of g(x) = the likeliest class of f(x + sigma * noise).

The certificate is one of g, not of f, and holds for each example with probability 1 - alpha. A network that was not trained with
noise of that size has a low accuracy when smoothed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float, Int, Key
from scipy.special import betaincinv, ndtri

from dsrna_jax import inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.errors import InputError
from dsrna_jax.kernels.reductions import max_over

ABSTAINED = -1


class Smoothed(NamedTuple):
    """The class predicted by g, or `ABSTAINED`, and the certified l2 radius of that class; 0 if g abstains."""

    classes: Int[np.ndarray, " batch"]
    radius: Float[np.ndarray, " batch"]


def class_counts(
    logits_fn: LogitsFn,
    images: Float[Array | np.ndarray, "batch *image"],
    key: KeyOrKeys | None = None,
    *,
    sigma: float,
    first: int = 0,
    samples: int,
    chunk: int = 64,
    pause: Callable[[], None] = lambda: None,
) -> Int[np.ndarray, "batch class"]:
    """Number of draws in which each class wins, under the noise of the draws `first` to `first + samples - 1`.

    Draw i of an example depends on its key and on i alone, so neither batch nor chunk matters.

    Args:
      sigma: standard deviation of the noise, in pixel units.
      first, samples: the number of the first draw, and the number of draws.
      chunk: noisy images of an example that are in memory at a time.
      pause: is called after each chunk.
    Raises: InputError unless images are in [0, 1], `sigma` is finite and more than 0, and outputs are logits that have a largest.
    """
    inputs.check_images(images)
    inputs.check_counts(samples=samples, chunk=chunk)
    inputs.check_counts(0, first=first)
    _check_sigma(sigma)
    network, keys = as_partial(logits_fn), example_keys(key, len(images))
    inputs.class_count(jax.eval_shape(network, images), len(images))
    total, last = np.zeros((), np.int64), first + samples
    chunk = min(chunk, last - first)
    for start in range(first, last, chunk):
        counts = _chunk_counts(network, images, keys, np.float32(sigma), start, last, chunk=chunk)
        total = total + np.asarray(counts, np.int64)
        if (lost := min(last - start, chunk) - np.asarray(counts).sum(1)).any():
            what = f"logits of {lost.sum()} noisy images are NaN, or all -inf"
            raise InputError(f"{what}: expected those of a network whose training went well")
        pause()
    return total


@functools.partial(jax.jit, static_argnames="chunk")
def _chunk_counts(
    logits_fn: Partial, images: Array, keys: Key[Array, " batch"], sigma: Array, first: Array, last: Array, *, chunk: int
) -> Int[Array, "batch class"]:
    """`class_counts` of the draws first, ..., last - 1, at most `chunk` of them, without those whose logits are NaN."""
    numbers, wide = first + jnp.arange(chunk), jnp.promote_types(images.dtype, jnp.float32)

    def noisy(key, image):
        """Draws of 16 bits take few values, and none far from 0; rounding the sum is a part of the network."""
        noise = jax.vmap(lambda key: jax.random.normal(key, image.shape, wide))(folded(key, numbers))
        return (image[None] + sigma * noise).astype(image.dtype)

    points = jax.vmap(noisy)(keys, images)  # not clipped to [0, 1]: the theorem is about the noise as it is
    logits = logits_fn(points.reshape(-1, *images.shape[1:]))
    winners = jax.nn.one_hot(logits.argmax(1), logits.shape[1], dtype=jnp.int32).reshape(len(images), chunk, -1)
    is_known = (max_over(logits, 1) > -jnp.inf).reshape(len(images), chunk)
    return jnp.where((is_known & (numbers < last)[None])[..., None], winners, 0).sum(1)


def lower_share(successes: Int[np.ndarray, "..."], trials: Int[np.ndarray, "..."], alpha: float) -> Float[np.ndarray, "..."]:
    """Lower confidence bound of a share, which exceeds the true one with probability at most `alpha`.

    Clopper and Pearson 1934; exact for the binomial distribution.
    """
    return np.where(successes > 0, betaincinv(np.maximum(successes, 1), trials - successes + 1, alpha), 0.0)


def certificate(
    selection: Int[np.ndarray, "batch class"], counts: Int[np.ndarray, "batch class"], *, sigma: float, alpha: float
) -> Smoothed:
    """The prediction of g and its certified radius: CERTIFY of the paper.

    Args:
      selection: class counts of a few draws, which choose the class.
      counts: class counts of other draws, which bound its share.
      sigma: standard deviation of the noise, in pixel units.
      alpha: probability that a radius is wrong.
    Raises: InputError unless `sigma` is finite and more than 0, `alpha` in (0, 1), and there are draws of 2 classes or more.
    """
    _check_sigma(sigma)
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha}: expected a probability between 0 and 1, such as 0.001")
    selection, counts = np.asarray(selection), np.asarray(counts)
    are_pairs = selection.shape == counts.shape and counts.ndim == 2 and counts.shape[1] > 1
    if not (are_pairs and (counts >= 0).all() and counts.sum(1).all()):
        raise InputError(f"expected counts [batch, classes] of one draw or more, got {selection.shape} and {counts.shape}")
    classes = selection.argmax(1)
    won = np.take_along_axis(counts, classes[:, None], 1)[:, 0]
    share = lower_share(won, counts.sum(1), alpha)
    # With a share below one half there is no certificate, and g abstains.
    radius = np.where(share > 0.5, sigma * ndtri(share), 0.0)
    return Smoothed(np.where(share >= 0.5, classes, ABSTAINED), radius)


def _check_sigma(sigma: float) -> None:
    inputs.check_radius(sigma, None, name="sigma", is_finite=True, is_positive=True)
