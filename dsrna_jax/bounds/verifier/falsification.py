"""Search for inputs of a box that violate a specification, by projected gradient steps.

Half of the points step by the sign of the gradient (PGD: Madry et al. 2018, arXiv:1706.06083), and half by that of a decaying sum
of gradients (Dong et al. 2018, arXiv:1710.06081), which ends much lower in most networks, but not in all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier.compiled import joined

MOMENTUM = 0.75  # what a step keeps of the sum of gradients, each of which counts by its direction alone


def violations(values: Float[Array, "batch row"], specification: Specification) -> Float[Array, "batch clause"]:
    """The largest value of a row, for every clause: the property fails if one of them is not positive."""
    return jnp.stack([values[:, list(clause)].max(1) for clause in specification.of_every_row], 1)


def values_of(output, specification: Specification) -> Float[Array, "batch row"]:
    """<row, y> + offset for every row of the specification."""
    rows, offsets = specification.functionals(output)
    return ((rows * output[None]).sum(tuple(range(2, rows.ndim))) + offsets).T


@functools.partial(jax.jit, static_argnames=("static",))
def value_at(arrays, static, specification: Specification, x: Float[Array, "1 *input"]) -> Float[Array, ""]:
    """The least of the `violations` at an input: at most 0 if it is a counterexample."""
    return violations(values_of(joined(static, arrays)(x), specification), specification).min()


@functools.partial(jax.jit, static_argnames=("static", "points", "steps"))
def attacked(
    arrays, static, specification: Specification, boxes: Box, key: PRNGKeyArray, *, points: int, steps: int = 100
) -> tuple[Float[Array, "*input"], Float[Array, ""], Int[Array, ""]]:
    """The input that comes closest to a violation, its least `violations`, at most 0 for a counterexample, and its box's number.

    Random points are shared out among the clauses; if there are too few, to those that come closest at the middle of the box.
    Steps are a share of each entry's width, which falls from a quarter to 1/256. The best point of all steps counts.

    Args:
      specification: with rows and offsets of each box.
      boxes: [box, ...].
      points: in each box.

    Returns: infinity as the least violation if it is finite nowhere.
    """
    f, count = joined(static, arrays), len(boxes.lower)
    number = np.repeat(np.arange(count), points)
    box, specification = boxes.of_examples(number), specification.of_examples(number)
    width = box.upper - box.lower

    def by_clause(x):
        return violations(values_of(f(x), specification), specification)

    clauses = len(specification.of_every_row)
    target = jnp.tile(jnp.arange(points) % clauses, count)
    if points < clauses:
        target = by_clause(box.middle)[::points].argsort(1)[:, :points].ravel()

    def worst(x):
        return jnp.take_along_axis(by_clause(x), target[:, None], 1)[:, 0]

    axes, kept = tuple(range(1, box.lower.ndim)), np.tile(MOMENTUM * ((1 + np.arange(points) // clauses) % 2), count)
    kept = jnp.asarray(kept.reshape(-1, *[1] * len(axes)), box.lower.dtype)

    def step(carry, size):
        x, best, least, heading = carry
        value, pull = jax.vjp(worst, x)
        (gradient,) = pull(jnp.ones_like(value))
        better = value < least
        best = jnp.where(better.reshape(kept.shape), x, best)
        gradient = jnp.nan_to_num(gradient)
        length = jnp.abs(gradient).max(axes, keepdims=True)
        heading = kept * heading + gradient / jnp.where(length > 0, length, 1)
        x = jnp.clip(x - size * width * jnp.sign(heading), box.lower, box.upper)
        return (x, best, jnp.fmin(value, least), heading), None

    start = box.lower + jax.random.uniform(key, box.lower.shape, box.lower.dtype) * width
    start = jnp.clip(start, box.lower, box.upper)
    sizes = jnp.geomspace(1 / 4, 1 / 256, steps, dtype=box.lower.dtype)
    infinite = jnp.full(len(start), jnp.inf, start.dtype)
    (_, best, least, _), _ = lax.scan(step, (start, start, infinite, jnp.zeros_like(start)), sizes)
    place = least.argmin()
    return best[place], least[place], place // points
