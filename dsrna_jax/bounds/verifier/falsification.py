"""Search for inputs of a box that violate a specification, by projected gradient steps.

Half of the points step by the sign of the gradient (PGD: Madry et al. 2018, arXiv:1706.06083), and half by that of a decaying sum
of gradients (Dong et al. 2018, arXiv:1710.06081), which ends much lower in most networks, but not in all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

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
    arrays, static, specification: Specification, box: Box, key: PRNGKeyArray, *, points: int, steps: int = 100
) -> tuple[Float[Array, "*input"], Float[Array, ""]]:
    """The input that comes closest to a violation, and its least `violations`: at most 0 if it is a counterexample.

    Random points are shared out among the clauses; if there are too few, to those that come closest at the middle of the box.
    Steps are a share of each entry's width, which falls from a quarter to 1/256. The best point of all steps counts.

    Args:
      box: of one example, [1, ...].
      points: in all.

    Returns: infinity as the least violation if it is finite nowhere.
    """
    f = joined(static, arrays)
    width = box.upper - box.lower

    def by_clause(x):
        return violations(values_of(f(x), specification), specification)

    clauses = len(specification.of_every_row)
    target = jnp.arange(points) % clauses if points >= clauses else by_clause(box.middle)[0].argsort()[:points]

    def worst(x):
        return jnp.take_along_axis(by_clause(x), target[:, None], 1)[:, 0]

    axes, kept = tuple(range(1, box.lower.ndim)), MOMENTUM * ((1 + np.arange(points) // clauses) % 2)
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

    start = box.lower + jax.random.uniform(key, (points, *box.lower.shape[1:]), box.lower.dtype) * width
    start = jnp.clip(start, box.lower, box.upper)
    sizes = jnp.geomspace(1 / 4, 1 / 256, steps, dtype=box.lower.dtype)
    infinite = jnp.full(points, jnp.inf, start.dtype)
    (_, best, least, _), _ = lax.scan(step, (start, start, infinite, jnp.zeros_like(start)), sizes)
    place = least.argmin()
    return best[place], least[place]
