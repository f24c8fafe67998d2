"""Lower bounds of logit margins over a ball, and of the largest radius at which they stay positive.

The difference of two logits is bounded itself, which is tighter than the difference of their bounds. `key` is part of the
signature that attacks, margins and certificates share, and is ignored: bounds draw nothing.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.options import Given, Options, Slopes
from dsrna_jax.bounds.output import output_bounds
from dsrna_jax.bounds.radius import largest_radius, with_implicit_gradient
from dsrna_jax.bounds.rounding import gamma, in_full_precision
from dsrna_jax.bounds.specification import Specification, lowest
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import check_counts, check_key, check_labels, check_radius, class_count
from dsrna_jax.kernels.reductions import max_over, min_over

SPARE = 32  # roundings

Logits = Callable[[Float[Array, "batch *image"]], Float[Array, "batch classes"]]


@in_full_precision
def margin(
    logits_fn: Logits,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float | Float[Array, "*batch"] | None = None,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    given: Given | None = None,
    slopes: Slopes = "neuron",
    arithmetic: str = "evaluated",
) -> Float[Array, " batch"]:
    """Lower bound of the logit margin, min over j != label of logits_label - logits_j, over the ball; positive means certified.

    Args:
      logits_fn: maps images [batch, ...] to logits [batch, classes], each example by itself.
      images: [batch, ...], floating-point pixels.
      labels: [batch], integers in 0 .. classes - 1.
      key: ignored.
      radius, norm, method, clip, channel_axis, box, chunk, iterations, optimizer, given, slopes: as in `bound`.
      arithmetic: "evaluated", for the network as floating point evaluates it; or "exact", in real arithmetic, for a network that
        takes the values seen at the images, operation by operation. Radii far below the rounding of a deep network are positive
        in the latter alone.

    Returns: [batch], in units of the logits; -inf if nothing is known.
    Raises: InputError, NotImplementedError; as `bound`.
    """
    check_key(key)
    options = Options(radius, norm, method, clip, box, chunk, iterations, given, arithmetic, slopes, channel_axis, optimizer)
    return min_over(_class_margins(logits_fn, images, labels, options), 1)


@in_full_precision
def class_margins(
    logits_fn: Logits,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float | Float[Array, "*batch"] | None = None,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    given: Given | None = None,
    slopes: Slopes = "neuron",
    arithmetic: str = "evaluated",
) -> Float[Array, "batch others"]:
    """Lower bounds of logits_label - logits_j over the ball, for each other class j; arguments as in `margin`.

    Returns: [batch, classes - 1], the other classes in ascending order. The least of a row is the `margin`.
    """
    check_key(key)
    options = Options(radius, norm, method, clip, box, chunk, iterations, given, arithmetic, slopes, channel_axis, optimizer)
    return _class_margins(logits_fn, images, labels, options)


@in_full_precision
def certified_radius(
    logits_fn: Logits,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
    *,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    start: float | Float[Array, "*batch"] = 0.05,
    steps: int = 15,
    arithmetic: str = "evaluated",
) -> Float[Array, " batch"]:
    """Lower bound of the largest radius within which the label cannot change, by bisection; 0 for misclassified images.

    Each radius returned has itself been certified. As in CNN-Cert (Boopathy et al. 2019, arXiv:1811.12395) the search is over the
    logarithm of the radius. Gradients are those of the implicit function margin(radius, weights) = 0.

    Args:
      start: the first radius tried, a number or [batch].
      steps: number of radii that are tried, each by one evaluation of the margin.
      The rest as in `margin`.

    Returns: [batch], in units of pixels.
    """
    check_key(key)
    options = Options(
        norm=norm, method=method, clip=clip, chunk=chunk, iterations=iterations, arithmetic=arithmetic, optimizer=optimizer
    )
    rows, radius_of = _radius_search(logits_fn, images, labels, start, steps, options)
    return radius_of(rows)


@in_full_precision
def class_certified_radii(
    logits_fn: Logits,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
    *,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    start: float | Float[Array, "*batch"] = 0.05,
    steps: int = 15,
    arithmetic: str = "evaluated",
) -> Float[Array, "batch others"]:
    """Lower bounds of the radii within which the label cannot change to each other class; arguments as in `certified_radius`.

    Returns: [batch, classes - 1], the other classes in ascending order, one search for each.
    """
    check_key(key)
    options = Options(
        norm=norm, method=method, clip=clip, chunk=chunk, iterations=iterations, arithmetic=arithmetic, optimizer=optimizer
    )
    rows, radius_of = _radius_search(logits_fn, images, labels, start, steps, options)
    return jax.lax.map(lambda row: radius_of(row[None]), rows).T


def _class_margins(logits_fn, images, labels, options):
    graph = traced(logits_fn, images)
    rows = _margin_rows(graph.output.value, labels)
    bounded = output_bounds(graph, options)
    return lowest(rows, None, bounded.value, bounded.lower(rows), bounded.ball.radius, terms=2).T


def _radius_search(logits_fn, images, labels, start, steps, options):
    """The functionals of all margins [classes - 1, batch, classes], and the map of any of them to radii [batch]."""
    if options.norm == "l0":
        raise InputError("a number of pixels has no radius to search for: bound the margin with norm=l0 and radius=1, 2 ...")
    check_counts(0, steps=steps)
    graph = traced(logits_fn, images)
    logits, leaves = graph.output.value, [leaf.value for leaf in graph.inputs]
    check_radius(start, len(leaves[0]), name="start", is_finite=True, is_positive=True)

    def radius_of(rows):
        def margin(radius):
            def finished(rows, lower):
                # A larger allowance than that of `margin`, so that `margin` certifies the radius too, however XLA rounds it.
                lower = lower - gamma(SPARE, lower.dtype) * (jnp.abs(lower) + max_over(jnp.abs(logits), 1)[None])
                return lowest(rows, None, logits, lower, radius, terms=2)

            bounded = output_bounds(graph, dataclasses.replace(options, radius=radius))
            return min_over(finished(rows, bounded.lower(rows, lambda at, lower: finished(rows[at], lower) > 0)), 0)

        certified = largest_radius(margin, leaves[0].shape[0], leaves[0].dtype, start=start, steps=steps)
        return with_implicit_gradient(certified, margin)

    return _margin_rows(logits, labels), radius_of


def _margin_rows(logits, labels):
    """The functionals logits[label] - logits[other] of every example: [classes - 1, batch, classes]."""
    classes = class_count(logits, len(logits))
    check_labels(labels, len(logits), classes)
    return Specification.of_label(labels, classes).functionals(logits)[0]
