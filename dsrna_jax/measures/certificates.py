"""Certificates: R from certified bounds, for DSRNA-CB (section 3.1.1, Eqs. 1 to 11).

The paper composes bounds of building blocks along the DAG to one lower bound of the network. Interval widths grow in every
cell, so that this bound leaves the range of float32 in a deep network. Each certificate here is finite at any depth, and grows as
a logarithm, so that no example dominates the mean.

A certificate is a function (logits_fn, images, labels, key=None, *, log_radius, norm, method, entries, unit) -> `Measured`, of a
`NetworkFunction` whose batch statistics are constants. Its `slack`, in nats, is the log-factor by which the certified deviation
may grow before the certificate is vacuous; 0 for misclassified images. A radius schedule follows it. Radii are passed as
logarithms, since those of deep supernets are too small for float32. The default method is "ibp", not "crown_ibp" as in `bounds`:
every step of a search differentiates a certificate, and cells have too many outputs for a backward pass each.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax import bounds, losses
from dsrna_jax.data_parallel import example_numbers
from dsrna_jax.inputs import check_images, checked_key
from dsrna_jax.kernels.reductions import max_over
from dsrna_jax.measures.measure import Measured, known
from dsrna_jax.measures.units import UNITS
from dsrna_jax.networks.function import NetworkFunction

# To bound a whole network in float32, states shrink by the log-factor GROWTH ahead of each cell, as their widths grow there, and
# images and radius are scaled up by ZOOM, so that tiny radii do not vanish.
GROWTH = np.log(1e6)
ZOOM = 2.0**48
PIXELS = (0.0, ZOOM)

Images = Float[Array, "batch height width channel"]
Labels = Int[Array, " batch"]
LogRadius = Float[Array, ""]


def cell(
    logits_fn: NetworkFunction,
    images: Images,
    labels: Labels | None = None,
    key: PRNGKeyArray | None = None,
    *,
    log_radius: LogRadius,
    norm: str = "linf",
    method: str = "ibp",
    entries: int = 4,
    unit: str = "one",
) -> Measured:
    """R = -sum over cells of log(width of the cell's certified output / width of its input).

    Each cell is bounded by itself, on the ball of the current radius around the states (before, last) of the clean image,
    both perturbed at once; widths are means over the entries of an example. A cell's term in R thus bounds how much that cell
    can amplify a deviation of that size. The sum is no bound of the whole network; `chained` is one: it bounds the cells one
    after the other, each at the radius that the cells before it lead to.

    Methods other than `ibp` need a backward pass for every output entry, so `entries` of them are drawn for each image,
    stratified over the map: the width is then an unbiased estimate, and `key` is needed. Slack compares widths with the
    standard deviation of the clean output, as the mean of the logarithm over cells.

    With a `unit` of the logits other than "one" (`measures.units`), the head is bounded as a cell is, and R = log(unit) - sum
    over cells and head of log(width of the output / width of the input): the logarithm of the deviation ahead of the first
    cell that would move the logits by one unit, if every stage amplified it by as much as is certified at the current radius.
    """
    check_images(images)
    radius = jnp.exp(jnp.maximum(log_radius, -60.0))
    draws = None if method == "ibp" else _uniform(key, len(images), (len(logits_fn.cells), entries))
    before, last = logits_fn.stem(images)
    growth, slack = [], []
    for index, function in enumerate(logits_fn.cells):
        draw = None if draws is None else draws[:, index]
        output, width = _with_half_width(by_example(function), _front((before, last)), radius, draw, norm=norm, method=method)
        before, last = last, jnp.moveaxis(output, 0, 1)
        std = lax.stop_gradient(output.std((1, 2, 3)))
        width = jnp.maximum(width, np.finfo(width.dtype).tiny)
        growth.append(jnp.log(width) - jnp.log(radius))
        slack.append(jnp.log(jnp.maximum(std, np.finfo(std.dtype).tiny)) - jnp.log(width))
    logits = logits_fn.head(last)
    if unit != "one":
        head = lambda state: logits_fn.head(jnp.moveaxis(state, 0, 1))  # noqa: E731
        width = _with_half_width(head, _front(last), radius, None, norm=norm, method=method)[1]
        units = UNITS[unit](logits, labels)
        growth.append(jnp.log(jnp.maximum(width, np.finfo(width.dtype).tiny)) - jnp.log(radius) - jnp.log(units))
    growth, slack = functools.reduce(operator.add, growth), functools.reduce(operator.add, slack)
    return Measured(logits, known(-growth, logits), lax.stop_gradient(slack / len(logits_fn.cells)))


def margin(
    logits_fn: NetworkFunction,
    images: Images,
    labels: Labels,
    key: PRNGKeyArray | None = None,
    *,
    log_radius: LogRadius,
    norm: str = "linf",
    method: str = "ibp",
    entries: int = 4,
    unit: str = "one",
) -> Measured:
    """R = -log(1 + softplus(-m)), m the lower bound of the whole network's margin at the current radius, in [0, 1] pixels.

    The states of the bounded network shrink as fast as widths usually grow, which changes only the unit. For m far below
    zero, R is about -log(-m); an image that is certified by a wide margin has R close to 0 and little gradient. Slack is
    log(clean margin / (clean margin - m)): positive for certified images. `key` and `entries` are ignored.

    With a `unit` of the logits (`measures.units`), m is divided by it.
    """
    check_images(images)
    whole, log_unit = _zoomed(logits_fn, log_radius)
    radius = jnp.exp(log_radius + np.log(ZOOM))
    options = {"norm": norm, "method": method, "clip": PIXELS, "arithmetic": "exact"}
    bound = bounds.margin(whole, ZOOM * images, labels, key, radius=radius, **options)
    bound = jnp.maximum(bound, np.finfo(bound.dtype).min)
    logits = logits_fn(images)
    clean = losses.margin(logits, labels)
    log_units = log_unit + jnp.log(UNITS[unit](logits, labels))
    units = jnp.exp(log_units)
    is_far = -bound > 20 * units
    far = jnp.logaddexp(jnp.log(jnp.where(is_far, -bound, 1)), log_units) - log_units
    near = jnp.log1p(jax.nn.softplus(jnp.where(is_far, 0, -bound) / jnp.where(units > 0, units, 1)))
    deviation = jnp.maximum(clean * jnp.exp(log_unit) - bound, np.finfo(bound.dtype).tiny)
    slack = jnp.log(jnp.where(clean > 0, clean, 1)) - (jnp.log(deviation) - log_unit)
    return Measured(logits, known(-jnp.where(is_far, far, near), logits), lax.stop_gradient(jnp.where(clean > 0, slack, 0)))


def radius(
    logits_fn: NetworkFunction,
    images: Images,
    labels: Labels,
    key: PRNGKeyArray | None = None,
    *,
    log_radius: LogRadius,
    norm: str = "linf",
    method: str = "ibp",
    entries: int = 4,
    unit: str = "one",
) -> Measured:
    """R = log(current radius + certified radius), differentiated implicitly; the bisection starts at the current radius.

    Misclassified images, and those that cannot be certified at all, stay at the current radius and have no gradient.
    Slack is log(certified radius / current radius). `key` and `entries` are ignored, and so is `unit`: no unit of the logits
    changes a radius.
    """
    current = jnp.exp(log_radius + np.log(ZOOM))
    certified = _zoomed_radius(logits_fn, images, labels, log_radius, norm=norm, method=method)
    logits = logits_fn(images)
    slack = jnp.log(jnp.maximum(certified, np.finfo(certified.dtype).tiny)) - jnp.log(current)
    is_right = losses.margin(logits, labels) > 0
    r = jnp.log(current + certified) - np.log(ZOOM)
    return Measured(logits, known(r, logits), lax.stop_gradient(jnp.where(is_right, slack, 0)))


CERTIFICATES = {"cell": cell, "margin": margin, "radius": radius}


def log_certified_radius(
    logits_fn: NetworkFunction, images: Images, labels: Labels, *, log_start: LogRadius, norm: str = "linf", method: str = "ibp"
) -> Float[Array, " batch"]:
    """Logarithm of a certified radius of the whole network, a lower bound, in pixel units; -inf for images without one."""
    return jnp.log(_zoomed_radius(logits_fn, images, labels, log_start, norm=norm, method=method)) - np.log(ZOOM)


def _zoomed(net, log_radius):
    """The network on images and radii scaled up by ZOOM, with states that shrink, and the logarithm of the unit of its logits."""
    log_factors = _log_factors(log_radius, len(net.cells))
    return net.rescaled([jnp.exp(f) for f in log_factors], zoom=ZOOM), sum(log_factors) + np.log(ZOOM)


def _zoomed_radius(net, images, labels, log_start, **options):
    check_images(images)
    whole, _ = _zoomed(net, log_start)
    start: Any = lax.stop_gradient(jnp.exp(log_start + np.log(ZOOM)))
    return bounds.certified_radius(whole, ZOOM * images, labels, clip=PIXELS, start=start, arithmetic="exact", **options)


def chained(
    net: NetworkFunction, images: Images, *, radius: Float[Array, " batch"], norm: str = "linf", method: str = "ibp"
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch classes"]]:
    """Bounds (lower, upper) of the logits over the ball of `radius` pixels, one cell at a time.

    Each stage is bounded on the box whose half side is the largest deviation of the two states that enter it. The bounds are
    sound, but looser than those of the whole network, and leave the range of float32 within a few cells.
    """
    before, last = net.stem(images)
    widths = [
        _largest_deviation(lambda x, i=i: jnp.moveaxis(net.stem(x)[i], 1, 0), images, radius, norm=norm, method=method)
        for i in range(2)
    ]
    for function in net.cells:
        both = jnp.maximum(*widths[-2:])
        widths.append(_largest_deviation(by_example(function), _front((before, last)), both, method=method))
        before, last = last, function(before, last)
    return bounds.bound(lambda state: net.head(jnp.moveaxis(state, 0, 1)), _front(last), radius=widths[-1], method=method)


def by_example(stage: Callable) -> Callable:
    """A stage with the batch as the first axis, as bounds take it: tuple of states [batch, channel, height, width] -> state."""
    return lambda states: jnp.moveaxis(stage(*(jnp.moveaxis(s, 0, 1) for s in states)), 1, 0)


def _front(states):
    return jax.tree.map(lambda s: jnp.moveaxis(s, 1, 0), states)


def _largest_deviation(f, x, radius, **options):
    lower, upper = bounds.deviation(f, x, radius=radius, **options)
    return max_over(jnp.maximum(-lower, upper).reshape(len(radius), -1), 1)


def _with_half_width(f, x, radius, draw, **options):
    """f(x), and half the mean width [batch] of its bounds, over all entries or those that `draw` [batch, entries] picks."""
    rows = None
    if draw is not None:
        shape = jax.eval_shape(f, x).shape
        size, entries = int(np.prod(shape[1:])), draw.shape[1]
        places = ((jnp.arange(entries)[None] + draw) * (size / entries)).astype(jnp.int32).T
        rows = (jnp.arange(size)[None, None] == jnp.minimum(places, size - 1)[..., None]).astype(jax.tree.leaves(x)[0].dtype)
        rows = rows.reshape(entries, *shape)
    value, (lower, upper) = bounds.value_and_deviation(f, x, radius=radius, rows=rows, **options)
    width = (upper - lower) / 2
    return value, width.mean(0) if draw is not None else width.reshape(len(width), -1).mean(1)


def _uniform(key, batch, shape):
    """[batch, *shape] in [0, 1); those of image i depend on (key, i) alone."""
    key = checked_key(key, is_single=True)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(example_numbers(batch))
    return jax.vmap(lambda k: jax.random.uniform(k, shape))(keys)


def _log_factors(log_radius, cells):
    """Log-factors by which states shrink ahead of each cell, so that widths neither vanish nor exceed 1 by much."""
    sizes = [jnp.maximum(log_radius + (i + 1) * GROWTH, 0.0) for i in range(-1, cells)]
    return [lax.stop_gradient(before - after) for before, after in zip(sizes[:-1], sizes[1:], strict=True)]
