"""Search for inputs of a box that violate a specification, by projected gradient steps.

Half of the points step by the sign of the gradient (PGD: Madry et al. 2018, arXiv:1706.06083), and half by that of a decaying sum
of gradients (Dong et al. 2018, arXiv:1710.06081), which ends much lower in most networks, but not in all.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.kernels.own_convolutions import with_own_convolutions
from dsrna_jax.kernels.reductions import max_over, min_over

MOMENTUM = 0.75  # what a step keeps of the sum of gradients, each of which counts by its direction alone


def violations(values: Float[Array, "batch row"], specification: Specification) -> Float[Array, "batch clause"]:
    """The largest value of a row, for every clause: the property fails if one of them is not positive."""
    return jnp.stack([max_over(values[:, list(clause)], 1) for clause in specification.of_every_row], 1)


def values_of(output, specification: Specification) -> Float[Array, "batch row"]:
    """<row, y> + offset for every row of the specification."""
    rows, offsets = specification.functionals(output)
    return ((rows * output[None]).sum(tuple(range(2, rows.ndim))) + offsets).T


@functools.partial(jax.jit, static_argnames=("static",))
def value_at(arrays, static, specification: Specification, x: Float[Array, "1 *input"]) -> Float[Array, ""]:
    """The least of the `violations` at an input: at most 0 if it is a counterexample."""
    return min_over(violations(values_of(joined(static, arrays)(x), specification), specification))


class ClosestInput(NamedTuple):
    """The input at which a property came closest to failing.

    value: its least `violations`, at most 0 for a counterexample; infinite if it is finite nowhere.
    box: the number of its box.
    """

    point: Float[Array, "*input"] | np.ndarray
    value: Float[Array, ""] | float
    box: Int[Array, ""] | int


def rounds(boxes: int, points: int, clauses: int, room: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """The attacks that give each box its points, with up to `room` examples at a time, all of one shape.

    Yields: (numbers of boxes, points of each, turn); all boxes have had a turn before the next one.
    """
    each = min(points, room)
    each -= each % clauses if each > clauses else 0
    groups = -(-boxes // max(1, min(boxes, room // each)))
    at_once = -(-boxes // groups)
    for turn in range(-(-points // each)):
        for first in range(0, boxes, at_once):
            yield np.arange(first, first + at_once) % boxes, each, turn


@functools.partial(jax.jit, static_argnames=("static", "points", "steps"))
def attacked(
    arrays,
    static,
    specification: Specification,
    boxes: Box,
    key: PRNGKeyArray,
    turn: Int[Array, ""],
    *,
    points: int,
    steps: int = 100,
) -> ClosestInput:
    """The nearest input to a violation that steps from random points find; they end with the first counterexample.

    Points are shared out among the clauses; if there are too few, in each turn to the next that are closest at the middle of
    the box. Steps are a share of each entry's width, which falls from a quarter to 1/256. The best point of all steps counts, by
    whichever clause it comes closest to failing.

    Args:
      specification: with rows and offsets of each box.
      boxes: [box, ...].
      turn: number of the attack on these boxes, from 0.
      points: in each box.
    """
    f, count = with_own_convolutions(joined(static, arrays)), len(boxes.lower)
    number = np.repeat(np.arange(count), points)
    box, specification = boxes.of_examples(number), specification.of_examples(number)
    width = box.upper - box.lower

    def by_clause(x):
        return violations(values_of(f(x), specification), specification)

    clauses = len(specification.of_every_row)
    target = jnp.tile(jnp.arange(points) % clauses, count)
    if points < clauses:
        nearest = jnp.roll(by_clause(box.middle)[::points].argsort(1), -points * turn, 1)
        target = nearest[:, :points].ravel()

    def targeted(x):
        each = by_clause(x)
        return jnp.take_along_axis(each, target[:, None], 1)[:, 0], min_over(each, 1)

    axes = tuple(range(1, box.lower.ndim))
    kept = MOMENTUM * ((1 + (points * turn + jnp.arange(points)) // clauses) % 2)
    kept = jnp.tile(kept, count).reshape(-1, *[1] * len(axes)).astype(box.lower.dtype)

    def goes_on(carry):
        number, _, _, least, _ = carry
        return (number < steps) & ~(least <= 0).any()

    def step(carry):
        number, x, best, least, heading = carry
        _, pull, value = jax.vjp(targeted, x, has_aux=True)
        (gradient,) = pull(jnp.ones_like(value))
        better = value < least
        best = jnp.where(better.reshape(kept.shape), x, best)
        gradient = jnp.nan_to_num(gradient)
        length = max_over(jnp.abs(gradient), axes, keepdims=True)
        heading = kept * heading + gradient / jnp.where(length > 0, length, 1)
        x = jnp.clip(x - sizes[number] * width * jnp.sign(heading), box.lower, box.upper)
        return number + 1, x, best, jnp.fmin(value, least), heading

    start = box.lower + jax.random.uniform(key, box.lower.shape, box.lower.dtype) * width
    start = jnp.clip(start, box.lower, box.upper)
    sizes = jnp.geomspace(1 / 4, 1 / 256, steps, dtype=box.lower.dtype)
    infinite = jnp.full(len(start), jnp.inf, start.dtype)
    carry = jnp.zeros((), jnp.int32), start, start, infinite, jnp.zeros_like(start)
    _, _, best, least, _ = lax.while_loop(goes_on, step, carry)
    place = least.argmin()
    return ClosestInput(best[place], least[place], place // points)
