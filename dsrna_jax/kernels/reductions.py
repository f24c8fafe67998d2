"""Maxima and sums of two arrays, and over the first axis of a stack, whose derivatives cost one comparison each.

XLA's reductions over a first axis, and its `top_k`, are much slower on a CPU than elementwise code that goes through the rows of
the stack in a call that is not inlined (`python -m experiments.benchmark --what=kernels` times both). Stacks of more than `MANY`
rows are left to XLA. The derivative of `jnp.maximum` splits ties by two divisions, whose results XLA keeps for the backward pass;
here the first of equal values has all of the derivative. NaN stays NaN.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Bool, Float

from dsrna_jax.kernels.lowering import define, noinline

Axes = int | Sequence[int] | None
MANY = 32

total_p, largest_p = Primitive("total"), Primitive("largest")
place_p, two_largest_p = Primitive("first_largest"), Primitive("two_largest")


@jax.custom_jvp
def larger(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Elementwise maximum of arrays of one shape; the first of two equal values has all of the derivative."""
    return jnp.maximum(a, b)


@larger.defjvp
def _larger_jvp(values, tangents):
    return larger(*values), jnp.where(values[0] < values[1], *reversed(tangents))


def smaller(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Elementwise minimum of arrays of one shape."""
    return -larger(-a, -b)


@jax.custom_jvp
def at_least_zero(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(x, 0) with the derivative of x, also where x < 0: for values that only rounding makes negative."""
    return jnp.maximum(x, 0)


@at_least_zero.defjvp
def _at_least_zero_jvp(values, tangents):
    return at_least_zero(*values), tangents[0]


def max_over(x: Float[Array, "..."], axes: Axes = None, *, keepdims: bool = False) -> Float[Array, "..."]:
    """Maximum over axes, by default all; NaN where an entry is NaN. The first of equal entries has all of the derivative.

    XLA's own maxima and minima pass over NaN on a CPU in arrays of more than 4,096 entries. JAX divides their derivatives by the
    number of entries that equal the result, which is 0 where XLA computes an entry anew and rounds it differently.
    """
    every = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    return _max_over(x, tuple(axis % x.ndim for axis in every), keepdims)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _max_over(x, axes, keepdims):
    return jnp.where(jnp.isnan(x).any(axes, keepdims=keepdims), jnp.nan, jnp.max(x, axes, keepdims=keepdims))


@_max_over.defjvp
def _max_over_jvp(axes, keepdims, values, tangents):
    def stacked(x):
        """[entry, ...], with the entries that are reduced along one axis."""
        ahead = jnp.moveaxis(x, axes, range(len(axes)))
        return ahead.reshape(-1, *ahead.shape[len(axes) :])

    (x,), (tangent,) = map(stacked, values), map(stacked, tangents)
    top = _max_over(*values, axes, keepdims)
    place = lax.stop_gradient(x).argmax(0)
    return top, jnp.where(_numbers(x) == place[None], tangent, 0).sum(0).reshape(top.shape)


def min_over(x: Float[Array, "..."], axes: Axes = None, *, keepdims: bool = False) -> Float[Array, "..."]:
    """Minimum over axes, by default all; NaN where an entry is NaN."""
    return -max_over(-x, axes, keepdims=keepdims)


def total_of(x: Float[Array, "row *shape"]) -> Float[Array, "*shape"]:
    """Sum over the first axis."""
    if len(x) > MANY:
        flat = x.reshape(len(x), -1)
        return jnp.matmul(jnp.ones(len(x), x.dtype), flat, precision=lax.Precision.HIGHEST).reshape(x.shape[1:])
    return total_p.bind(x)


@jax.custom_jvp
def largest(x: Float[Array, "row *shape"]) -> Float[Array, "*shape"]:
    """Maximum over the first axis; the first of equal ones has all of the derivative."""
    return max_over(x, 0) if len(x) > MANY else largest_p.bind(x)


@largest.defjvp
def _largest_jvp(values, tangents):
    (x,), (tangent,) = values, tangents
    return largest(x), total_of(jnp.where(_numbers(x) == jnp.expand_dims(_place(x), 0), tangent, 0))


def two_largest(x: Float[Array, "row *shape"]) -> tuple[Bool[Array, "row *shape"], Bool[Array, "row *shape"]]:
    """Masks of the largest and of the second largest entry along the first axis; of equal entries the first counts as larger.

    With a single row the second mask is false everywhere.
    """
    x = lax.stop_gradient(x)
    if len(x) == 1:
        return jnp.ones(x.shape, bool), jnp.zeros(x.shape, bool)
    places = jnp.moveaxis(lax.top_k(jnp.moveaxis(x, 0, -1), 2)[1], -1, 0) if len(x) > MANY else two_largest_p.bind(x)
    first, second = (_numbers(x) == jnp.expand_dims(place, 0) for place in places)
    return first, second


def _numbers(x):
    return jnp.arange(len(x), dtype=jnp.int32).reshape(-1, *[1] * (x.ndim - 1))


def _place(x):
    """Row of the first of the largest entries."""
    x = lax.stop_gradient(x)
    return jnp.argmax(x, 0).astype(jnp.int32) if len(x) > MANY else place_p.bind(x)


def _total(x):
    return functools.reduce(jnp.add, jnp.unstack(x))


def _largest(x):
    return functools.reduce(jnp.maximum, jnp.unstack(x))


def _first_largest(x):
    rows = jnp.unstack(x)
    top, place = rows[0], jnp.zeros(rows[0].shape, jnp.int32)
    for i, row in enumerate(rows[1:], 1):
        top, place = jnp.maximum(top, row), jnp.where(row > top, i, place)
    return place


def _two_largest(x):
    rows = jnp.unstack(x)
    first, second = rows[0], jnp.full_like(rows[0], -jnp.inf)
    place = second_place = jnp.zeros(first.shape, jnp.int32)
    for i, row in enumerate(rows[1:], 1):
        wins, is_next = row > first, (row > second) | (i == 1)
        second_place = jnp.where(wins, place, jnp.where(is_next, i, second_place))
        second = jnp.where(wins, first, jnp.where(is_next, row, second))
        first, place = jnp.where(wins, row, first), jnp.where(wins, i, place)
    return jnp.stack([place, second_place])


def _row(x):
    return x.update(shape=x.shape[1:])


def _row_numbers(x):
    return x.update(shape=x.shape[1:], dtype=jnp.dtype("int32"))


def _two_row_numbers(x):
    return x.update(shape=(2, *x.shape[1:]), dtype=jnp.dtype("int32"))


def _repeated(ct, x):
    return jnp.broadcast_to(ct, x.aval.shape)


def _batch(primitive, result_axis=0):
    return lambda operands, axes: (primitive.bind(jnp.moveaxis(operands[0], axes[0], 1)), result_axis)


define(total_p, _total, _row, _batch(total_p), transposes=(_repeated,), on={"cpu": noinline(_total)})
define(largest_p, _largest, _row, _batch(largest_p), on={"cpu": noinline(_largest)})
define(place_p, _first_largest, _row_numbers, _batch(place_p), on={"cpu": noinline(_first_largest)})
define(two_largest_p, _two_largest, _two_row_numbers, _batch(two_largest_p, 1), on={"cpu": noinline(_two_largest)})
