"""The functions of `dsrna_jax.bounds`, whose page says what they have in common."""


import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds import METHODS
from dsrna_jax.bounds.balls import ball, is_known
from dsrna_jax.bounds.explanation import Explanation, explanation, free_memory, readable
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.methods import Bounded
from dsrna_jax.bounds.radius import largest_radius, with_implicit_gradient
from dsrna_jax.bounds.rules.registry import RULES
from dsrna_jax.bounds.tracing import trace
from dsrna_jax.errors import InputError

ROUNDING = 64


def _in_full_precision(f):
    """f with matrix products that an accelerator does not round more coarsely than its numbers."""

    @functools.wraps(f)
    def precisely(*arguments, **options):
        with jax.default_matmul_precision("highest"):
            return f(*arguments, **options)

    return precisely


@_in_full_precision
def bound(
    f: Callable, x, *, radius, norm="linf", method="crown_ibp", clip=None, chunk=64, iterations=20, given=None
) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bounds of every entry of f(x') for all x' within `radius` of x.

    Args:
      f: maps x [batch, ...] (an array or a pytree of them) to [batch, ...], each example by itself.
      x: floating-point pixels.
      radius: a number or [batch], in units of x, >= 0; may be traced.
      norm: "linf", "l2" or "l1"; over all entries of an example together.
      method: one of `METHODS`. clip: (low, high) that x' stays within, as pixels do; None for no limit.
      chunk: entries bounded at a time in backward passes; memory grows with it. iterations: of alpha_crown.
      given: sound bounds of intermediate values by name, {"relu_0": (lower, upper)}, as `intermediate` hands out.
    Returns: (lower, upper), each of the shape of f(x).
    Raises: InputError; NotImplementedError naming a primitive that has no rule, and where it was called.
    """
    bounded = _bounded(f, x, radius, norm, method, clip, chunk, iterations, given)
    value = bounded.graph.output.value
    lower, upper = bounded.sides()
    by_entry = bounded.ball.radius.reshape(-1, *[1] * (value.ndim - 1))
    return _widened(value, lower, by_entry), -_widened(-value, -upper, by_entry)


@_in_full_precision
def deviation(
    f: Callable, x, *, radius, rows=None, norm="linf", method="crown_ibp", clip=None, chunk=64, iterations=20, given=None
) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bounds of f(x') - f(x), which keep their precision where they are small beside f(x), or radius beside x.

    Arguments as in `bound`. With rows [row, batch, ...], functionals of f's output for each example, the bounds are those of
    <rows, f(x') - f(x)>; every row costs a backward pass a side (none in `ibp`).

    Returns: (lower, upper), each of the shape of f(x), or [row, batch].
    """
    return _deviation(_bounded(f, x, radius, norm, method, clip, chunk, iterations, given), rows)


@_in_full_precision
def value_and_deviation(
    f: Callable, x, *, radius, rows=None, norm="linf", method="crown_ibp", clip=None, chunk=64, iterations=20, given=None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """(f(x), `deviation`), as `jax.value_and_grad`: what is computed from f(x) shares its derivatives with the bounds."""
    bounded = _bounded(f, x, radius, norm, method, clip, chunk, iterations, given)
    return bounded.graph.output.value, _deviation(bounded, rows)


@_in_full_precision
def margin(
    logits_fn: Callable, images, labels, key=None, *, radius, norm="linf", method="crown_ibp", clip=None, chunk=64,
    iterations=20, given=None,
) -> jax.Array:  # fmt: skip
    """Lower bound of the logit margin, min over j != label of logits_label - logits_j over the ball; positive means certified.

    The difference of two logits is bounded, never the difference of their bounds.

    Args:
      logits_fn: maps images [batch, ...] to logits [batch, classes], each example by itself.
      images: floating-point pixels. labels: [batch] integers in 0 .. classes - 1. key: ignored, bounds draw nothing.
      The rest as in `bound`.
    Returns: [batch].
    """
    return _class_margins(logits_fn, images, labels, radius, norm, method, clip, chunk, iterations, given).min(1)


@_in_full_precision
def class_margins(
    logits_fn: Callable, images, labels, key=None, *, radius, norm="linf", method="crown_ibp", clip=None, chunk=64,
    iterations=20, given=None,
) -> jax.Array:  # fmt: skip
    """`margin` against each other class, in ascending order: [batch, classes - 1]; the least of a row is the margin."""
    return _class_margins(logits_fn, images, labels, radius, norm, method, clip, chunk, iterations, given)


@_in_full_precision
def intermediate(f: Callable, x, *, radius, norm="linf", method="crown_ibp", clip=None, chunk=64, given=None) -> dict:
    """Bounds of what enters each non-linear operation, by name such as "relu_0": {name: (lower, upper)}."""
    return _bounded(f, x, radius, norm, method, clip, chunk, 0, given).intermediate()


@_in_full_precision
def certified_radius(
    logits_fn: Callable, images, labels, key=None, *, norm="linf", method="crown_ibp", clip=None, chunk=64, iterations=20,
    start=0.05, steps=15,
) -> jax.Array:  # fmt: skip
    """A lower bound of the largest radius at which an example's label is certain, by bisection; 0 where it is wrong already.

    The radius returned has itself been certified. As in CNN-Cert (Boopathy et al. 2019, arXiv:1811.12395) the search is over the
    logarithm, from `start`, in `steps` evaluations of the margin. Gradients are those of the implicit function m(r, weights) = 0.

    Arguments as in `margin`. Returns: [batch], in units of the pixels.
    """
    rows, radius_of = _radius_search(logits_fn, images, labels, norm, method, clip, chunk, iterations, start, steps)
    return radius_of(rows)


@_in_full_precision
def class_certified_radii(
    logits_fn: Callable, images, labels, key=None, *, norm="linf", method="crown_ibp", clip=None, chunk=64, iterations=20,
    start=0.05, steps=15,
) -> jax.Array:  # fmt: skip
    """`certified_radius` against each other class by itself, in ascending order: [batch, classes - 1]."""
    rows, radius_of = _radius_search(logits_fn, images, labels, norm, method, clip, chunk, iterations, start, steps)
    return jax.lax.map(lambda row: radius_of(row[None]), rows).T


def explain(f: Callable, x, *, chunk=64, iterations=20) -> Explanation:
    """The operations of f, its neurons, and what every method would cost; nothing is computed. `str` of it is a table.

    f, x, chunk and iterations as in `bound`; x may be `jax.ShapeDtypeStruct`s.
    """
    found = []
    jax.eval_shape(lambda x: found.append(explanation(_traced(f, x), chunk, iterations)), x)
    return found[0]


def _bounded(f, x, radius, norm, method, clip, chunk, iterations, given) -> Bounded:
    _check_method(method)
    graph = _traced(f, x)
    _check_memory(graph, method, chunk, iterations)
    area = ball([leaf.value for leaf in graph.inputs], radius, norm, clip)
    return Bounded(graph, area, method, chunk=chunk, iterations=iterations, given=given or {})


def _deviation(bounded: Bounded, rows):
    if rows is None:
        lower, upper = bounded.sides()
    else:
        both = bounded.lower(jnp.concatenate([rows, -rows]))
        lower, upper = both[: len(rows)], -both[len(rows) :]
    slack = ROUNDING * jnp.finfo(lower.dtype).eps
    lower, upper = lower - slack * jnp.abs(lower), upper + slack * jnp.abs(upper)
    return jnp.where(jnp.isnan(lower), -jnp.inf, lower), jnp.where(jnp.isnan(upper), jnp.inf, upper)


def _class_margins(logits_fn, images, labels, radius, norm, method, clip, chunk, iterations, given):
    bounded = _bounded(logits_fn, images, radius, norm, method, clip, chunk, iterations, given)
    value = bounded.graph.output.value
    rows = _margin_rows(value, labels)
    return _widened((rows * value).sum(-1), bounded.lower(rows), bounded.ball.radius).T


def _radius_search(logits_fn, images, labels, norm, method, clip, chunk, iterations, start, steps):
    """The functionals of the margins [classes - 1, batch, classes], and a function from some of them to their radii [batch]."""
    _check_method(method)
    graph = _traced(logits_fn, images)
    leaves = [leaf.value for leaf in graph.inputs]

    def radius_of(rows):
        def margin(radius):
            bounded = Bounded(graph, ball(leaves, radius, norm, clip), method, chunk=chunk, iterations=iterations, given={})
            # A little more than `margin` allows, which then certifies the radius found however XLA rounds it.
            return _widened((rows * graph.output.value).sum(-1), bounded.lower(rows), radius, ROUNDING + 16).min(0)

        certified = largest_radius(margin, leaves[0].shape[0], leaves[0].dtype, start=start, steps=steps)
        return with_implicit_gradient(certified, margin)

    return _margin_rows(graph.output.value, labels), radius_of


def _traced(f, x) -> Graph:
    graph = trace(f, x, RULES)
    value = graph.output.value
    if is_known(value) and not np.all(np.isfinite(np.asarray(value))):
        raise InputError("f(x) is not finite: its weights or x hold NaN or infinity")
    return graph


def _check_method(method):
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")


def _check_memory(graph, method, chunk, iterations):
    needed, free = explanation(graph, chunk, iterations).costs[method].bytes, free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{method} would take about {readable(needed)}, and {readable(free)} are free: take fewer examples at once, a "
            f"smaller chunk than {chunk}, or a cheaper method (bounds.explain lists them)"
        )


def _margin_rows(value, labels):
    """The functionals value[label] - value[other] of every example: [classes - 1, batch, classes]."""
    if value.ndim != 2 or value.shape[1] < 2:
        raise InputError(f"margins need logits [batch, classes], got {list(value.shape)}")
    labels = _checked_labels(labels, *value.shape)
    classes = jnp.arange(value.shape[1])
    others = classes[:-1] + (classes[:-1] >= labels[:, None])
    return (classes == labels[:, None])[None].astype(value.dtype) - (classes == others.T[..., None]).astype(value.dtype)


def _widened(value, deviation, radius, units=ROUNDING):
    """value + deviation, lowered by the allowance for rounding; -inf for NaN, and the value itself at radius 0."""
    allowance = units * jnp.finfo(value.dtype).eps * (jnp.abs(value) + jnp.abs(deviation))
    result = value + deviation - jnp.where(radius > 0, allowance, 0)
    return jnp.where(jnp.isnan(result), -jnp.inf, result)


def _checked_labels(labels, batch, classes):
    labels = jnp.asarray(labels)
    if labels.shape != (batch,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(f"labels must be {batch} integers, one for each example, got {labels.dtype} {list(labels.shape)}")
    if is_known(labels) and (np.any(np.asarray(labels) < 0) or np.any(np.asarray(labels) >= classes)):
        raise InputError(f"labels must lie in 0 .. {classes - 1}, got {int(labels.min())} .. {int(labels.max())}")
    return labels
