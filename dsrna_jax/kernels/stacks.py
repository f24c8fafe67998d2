"""Sum, maximum and the two largest over the first axis of a stack, such as the entries of a pool's windows.

XLA's own reductions over a first axis, and its `top_k`, take ten to fifty times as long on a CPU as elementwise code that goes
through the rows of a stack, if that is compiled apart. Stacks of many rows are left to XLA.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dsrna_jax.kernels.apart import apart

MANY = 32


def total_of(x):
    """Sum over the first axis."""
    if len(x) > MANY:
        flat = x.reshape(len(x), -1)
        return jnp.matmul(jnp.ones(len(x), x.dtype), flat, precision=lax.Precision.HIGHEST).reshape(x.shape[1:])
    return total_p.bind(x)


@jax.custom_jvp
def largest(x):
    """Maximum over the first axis; the first of equal ones has all of the derivative."""
    return x.max(0) if len(x) > MANY else largest_p.bind(x)


@largest.defjvp
def _largest_jvp(values, tangents):
    (x,), (tangent,) = values, tangents
    return largest(x), total_of(jnp.where(_numbers(x) == _place(x), tangent, 0))


def two_largest(x):
    """Where the two largest of the first axis are, the first of those that are alike before the others, as truth values.

    Returns: two arrays of the shape of x. The second is false where there is but one row.
    """
    x = lax.stop_gradient(x)
    if len(x) == 1:
        return jnp.ones(x.shape, bool), jnp.zeros(x.shape, bool)
    places = jnp.moveaxis(lax.top_k(jnp.moveaxis(x, 0, -1), 2)[1], -1, 0) if len(x) > MANY else two_largest_p.bind(x)
    return tuple(_numbers(x) == place for place in places)


def _numbers(x):
    return jnp.arange(len(x), dtype=jnp.int32).reshape(-1, *[1] * (x.ndim - 1))


def _place(x):
    """Number of the first of the largest entries."""
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


def _primitive(name, f, result):
    """A primitive that goes through the rows of a stack; result: shape and type from the stack's."""
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(f))
    primitive.def_abstract_eval(result)
    mlir.register_lowering(primitive, mlir.lower_fun(f, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(functools.partial(apart, f), multiple_results=False), platform="cpu")
    return primitive


def _row(x):
    return x.update(shape=x.shape[1:])


total_p, largest_p = _primitive("total", _total, _row), _primitive("largest", _largest, _row)
place_p = _primitive("first_largest", _first_largest, lambda x: x.update(shape=x.shape[1:], dtype=jnp.dtype("int32")))
two_largest_p = _primitive("two_largest", _two_largest, lambda x: x.update(shape=(2, *x.shape[1:]), dtype=jnp.dtype("int32")))
for _p, _axis in ((total_p, 0), (largest_p, 0), (place_p, 0), (two_largest_p, 1)):
    batching.primitive_batchers[_p] = lambda x, axes, p=_p, axis=_axis: (p.bind(jnp.moveaxis(x[0], axes[0], 1)), axis)
ad.deflinear2(total_p, lambda ct, x: [jnp.broadcast_to(ct, x.aval.shape)])
