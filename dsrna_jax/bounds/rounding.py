"""The precision of bounds, and the allowances by which rounding widens them. `docs/rounding.md` derives these.

u is the unit roundoff of a type, half of its `eps`. A sum of n products, in any order, is off by at most
gamma(n) = n u / (1 - n u) times the sum of the absolute values of the products (Higham 2002, section 3.1).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.errors import InputError
from dsrna_jax.kernels.reductions import max_over

P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 4096  # the most terms of a sum that are added in one block
OWN = 2  # roundings of an end of an interval beside those of the operation: of the allowance, and of its subtraction
ELEMENTARY = 8  # roundings that bound the error of XLA's elementary functions, by their `size` (`docs/rounding.md`)


def in_full_precision(f: Callable[P, R]) -> Callable[P, R]:
    """f with matrix products as precise as its numbers, where an accelerator's default is coarser."""

    @functools.wraps(f)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return f(*args, **kwargs)

    return precise


def gamma(terms: int, *dtypes) -> float:
    """Bound of the relative rounding error of a sum of `terms` products in the coarsest of the types; inf if there is none."""
    error = terms * max(float(jnp.finfo(dtype).eps) for dtype in dtypes) / 2
    return error / (1 - error) if error < 1 else np.inf


def smallest_normal(dtype) -> float:
    """The smallest normal number of a type; smaller results may be flushed to 0."""
    return float(jnp.finfo(dtype).tiny)


@dataclasses.dataclass(frozen=True)
class Magnitudes:
    """Sizes of a node that its rounding errors are relative to, computed when first asked for, and kept.

    interval: holds 0, and the deviations of the node.
    """

    node: Node
    interval: Interval

    @functools.cached_property
    def reach(self) -> jax.Array:
        """The largest absolute deviation."""
        return lax.stop_gradient(reach_of(self.interval))

    @functools.cached_property
    def size(self) -> jax.Array:
        """The absolute value at the trace point: 0 for an infinity, such as a mask's, which is not rounded."""
        size = jnp.abs(lax.stop_gradient(self.node.value))
        return jnp.where(size == np.inf, 0, size)


class Rounding:
    """Bounds of the absolute errors that rounding may add to a value, from the deviations that it may have.

    counts_f: whether bounds hold for f as it is evaluated in its own types, by sums in any order; if not, they hold for a
      function with the values of f's trace at x, and the arithmetic of bounds alone counts. The allowances are then relative to
      deviations, and vanish with them.
    """

    def __init__(self, counts_f: bool):
        self.counts_f = counts_f

    def of_interval(self, sizes: Magnitudes, terms: int, backward: int = 0) -> jax.Array:
        """The error, anywhere in the interval, of an operation on a node with `terms` roundings in f and in the bounds.

        backward: roundings of functionals that are propagated backwards through the operation.
        """
        dtype = sizes.node.value.dtype
        own = gamma(terms + OWN, dtype) + (gamma(backward, dtype) if backward else 0)
        if not (self.counts_f and terms):
            return own * sizes.reach
        f = gamma(terms, dtype)
        return (own + f) * sizes.reach + 2 * f * sizes.size

    def of_result(self, sizes: Magnitudes) -> jax.Array | float:
        """The error of an affine operation at its result: of a sum, relative to it; of products, that of results flushed to 0."""
        return self.of_flushed(sizes.node) if sizes.node.operation.terms else self.of_interval(sizes, 1)

    def of_flushed(self, node: Node) -> float:
        """The error of a sum of products at its result: that of results that are flushed to 0."""
        return smallest_normal(node.value.dtype) * (node.operation.terms + 1)

    def outwards(self, sizes: Magnitudes, terms: int) -> Interval:
        """The interval, with its ends moved outwards by their errors."""
        dtype, (lower, upper) = sizes.node.value.dtype, sizes.interval
        own, f = gamma(terms + OWN, dtype), gamma(terms, dtype) if self.counts_f else 0.0
        lower, upper = lower * (1 + own + f), upper * (1 + own + f)
        if f == 0:
            return Interval(lower, upper)
        base = 2 * f * sizes.size
        return Interval(lower - base, upper + base)


def reach_of(interval: Interval) -> jax.Array:
    """The largest absolute deviation in an interval that holds 0."""
    return jnp.maximum(-interval.lower, interval.upper)


EVALUATION, EXACT_VALUES = Rounding(counts_f=True), Rounding(counts_f=False)
ARITHMETIC = {"evaluated": EVALUATION, "exact": EXACT_VALUES}


def rounding_of(arithmetic: str) -> Rounding:
    """The rounding that bounds allow for. Raises: InputError for an unknown name."""
    if arithmetic not in ARITHMETIC:
        raise InputError(f"unknown arithmetic {arithmetic!r}: expected one of {', '.join(ARITHMETIC)}")
    return ARITHMETIC[arithmetic]


def total(terms, axis: int) -> jax.Array:
    """Upper bound of the sum of numbers >= 0 over the axes from `axis` on.

    Long sums are added in blocks, kept apart by a barrier, so that the allowance grows with the length and the number of blocks.
    """
    axes = tuple(range(axis, terms.ndim))
    count = int(np.prod(terms.shape[axis:]))
    if count > BLOCK and len(axes) > 1:
        blocks = lax.optimization_barrier(terms.sum(axes[1:]))
        return _raised(blocks.sum(axis), count // terms.shape[axis] + terms.shape[axis])
    return _raised(terms.sum(axes), count)


def _raised(x, terms):
    return x * (1 + gamma(terms + 2, x.dtype))


def length(x, axis: int) -> jax.Array:
    """Upper bound of the Euclidean length over the axes from `axis` on; infinite or NaN if an entry is.

    Squares are taken of shares of the largest entry.
    """
    axes = tuple(range(axis, x.ndim))
    largest = lax.stop_gradient(max_over(jnp.abs(x), axes, keepdims=True))
    squares = total(jnp.square(x / jnp.where(largest > 0, largest, 1)), axis)
    positive = squares > 0
    root = jnp.sqrt(jnp.where(positive, squares, 1)) * (1 + gamma(6, x.dtype))
    largest = largest.reshape(root.shape)
    return jnp.where(positive, largest * root, largest)


def lowered(value, deviation, size=None, *, terms: int = 2) -> jax.Array:
    """Lower bound of value + d for any d >= deviation; -inf where deviation is NaN.

    size: sum of the absolute values of the terms that `value` is the sum of, if it is a sum.
    terms: the number of these.
    """
    result = value + deviation
    allowance = gamma(terms + 2, value.dtype) * (jnp.abs(value if size is None else size) + jnp.abs(deviation))
    return known_or(result - lax.stop_gradient(allowance), -jnp.inf)


def outward_sum(a, b, direction: int) -> jax.Array:
    """a + b, moved up (1) or down (-1) by a bound of its rounding error, and of those of a and b if they are differences.

    An infinite a, such as of an entry that a mask hides, is exact where b is 0.
    """
    size = jnp.where((b == 0) & jnp.isinf(a), 0, jnp.abs(a) + jnp.abs(b))
    return a + b + direction * lax.stop_gradient(gamma(4, a.dtype) * size)


def ends(x, interval: Interval) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest x + d for d in an interval: rounded outwards, and x itself where d is 0."""
    return _end(x, interval.lower, -1), _end(x, interval.upper, 1)


def _end(x, d, direction):
    total, unit = x + d, gamma(4, x.dtype)
    return jnp.where(d == 0, x, total * jnp.where(total * direction > 0, 1 + unit, 1 - unit))


def known_or(bound, otherwise) -> jax.Array:
    """The bound, and `otherwise` where it is NaN."""
    return jnp.where(jnp.isnan(bound), otherwise, bound)
