"""Microbatches: the parts of a batch, computed one after the other to save memory; gradients are means over the parts.

Part number p of n has the images p, p + n, p + 2 n, ... of the batch or, where devices share it, of the share of each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PRNGKeyArray


def over_parts(f: Callable[..., tuple[Any, Any]], batch: Any, key: PRNGKeyArray | None, parts: int) -> tuple[Any, Any]:
    """Means over the parts of a batch, and values for each of its images.

    Args:
      f: (part, key of the part) -> (tree whose mean over the parts is returned, tree of arrays [image, ...]).
      batch: tree of arrays [image, ...], as many as a multiple of `parts`.
      key: random key, of which every part gets its own; None if f draws nothing. One part gets the key itself.
    """
    if parts == 1:
        return f(batch, key)
    divided = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    keys = None if key is None else jax.random.split(key, parts)
    first = jax.tree.map(lambda x: x[0], (divided, keys))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(f, *first)[0])

    def add(sums, part):
        values, of_images = f(*part)
        return jax.tree.map(jnp.add, sums, values), of_images

    sums, of_images = lax.scan(add, zeros, (divided, keys))
    joined = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), of_images)
    return jax.tree.map(lambda x: x / parts, sums), joined


class Averaged(NamedTuple):
    """A function that is the mean of one function over the parts of a batch.

    f: (part, key of the part, *arguments) -> scalar, or with an auxiliary output, (means, tree of arrays [image, ...]).
    """

    f: Callable
    batch: Any
    key: PRNGKeyArray | None
    parts: int


def mean_derivative(f: Callable | Averaged, derivative: Callable[[Callable], Any], has_aux: bool = False) -> Any:
    """`derivative(f)`, linear in f, such as its gradient at a point; of an `Averaged` function part by part.

    has_aux: whether `derivative` gives (derivative, auxiliary output of f).
    """
    if not isinstance(f, Averaged):
        return derivative(f)

    def of_part(part, key):
        result = derivative(partial(f.f, part, key))
        if not has_aux:
            return result, ()
        value, (means, of_images) = result
        return (value, means), of_images

    values, of_images = over_parts(of_part, f.batch, f.key, f.parts)
    if not has_aux:
        return values
    value, means = values
    return value, (means, of_images)
