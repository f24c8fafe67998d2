"""R from certified bounds: DSRNA-CB (section 3.1.1, Eqs. 1 to 11), and the radius at which they are taken (section 4.2.2).

The paper composes bounds of building blocks along the DAG to one lower bound of the network, and moves the radius with what comes
out. Interval widths grow a millionfold a cell, so that this bound alone leaves the range of float32 and says nothing there. Each
certificate here is finite at any depth, and grows as a logarithm, so that no example carries the mean.

A certificate is a function (net, images, labels, key, log_radius) -> (logits [batch, classes], R [batch], slack [batch]) of a
`network.NetworkFunction` whose batch statistics are constants. `slack`, in nats, is by how much the certified deviation could
grow before the certificate is empty, 0 where an image has no say; a radius schedule follows it. Radii are kept as logarithms,
since those of deep supernets are too small for float32.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax import bounds
from dsrna_jax.networks.function import NetworkFunction

GROWTH = np.log(1e6)  # of interval widths in a cell, by order of magnitude
ZOOM = 2.0**48  # images and radius are this much larger where a whole network is bounded, so that tiny radii stay in float32
PIXELS = (0.0, ZOOM)


def cell(net: NetworkFunction, images, labels, key, log_radius, *, norm="linf", method="ibp", entries=4):
    """R = -sum over cells of log(width of the cell's certified output / width of its input).

    Each cell is bounded by itself, on the ball of the current radius around the states (before, last) that the clean image leads
    to, both at once; widths are means over the entries of an example. What a cell adds to R is thus a bound of how much it can
    amplify a deviation of that size. On the whole network the sum states nothing; `chained` bounds the same cells one after
    the other, each at the radius that those before it leave, and that does contain what the network does.

    With a method other than `ibp`, which needs a backward pass for every output entry, `entries` of them are drawn for each
    image, spread evenly over the map: the width is then an unbiased estimate. Slack compares widths with the clean output's
    spread, on the average of the logarithm over cells.
    """
    radius = jnp.exp(jnp.maximum(log_radius, -60.0))
    draws = None if method == "ibp" else _uniform(key, len(images), (len(net.cells), entries))
    before, last = net.stem(images)
    growth, slack = [], []
    for index, function in enumerate(net.cells):
        draw = None if draws is None else draws[:, index]
        output, width = _with_half_width(by_example(function), _front((before, last)), radius, draw, norm=norm, method=method)
        before, last = last, jnp.moveaxis(output, 0, 1)
        spread = lax.stop_gradient(output.std((1, 2, 3)))
        width = jnp.maximum(width, np.finfo(width.dtype).tiny)
        growth.append(jnp.log(width) - jnp.log(radius))
        slack.append(jnp.log(jnp.maximum(spread, np.finfo(spread.dtype).tiny)) - jnp.log(width))
    return net.head(last), -sum(growth), lax.stop_gradient(sum(slack) / len(slack))


def margin(net: NetworkFunction, images, labels, key, log_radius, *, norm="linf", method="ibp", entries=4):
    """R = -log(1 + softplus(-m)), m the lower bound of the whole network's margin at the current radius, in [0, 1] pixels.

    The network is bounded with states that shrink as fast as widths usually grow, which changes nothing but the unit. Where m
    is far below zero R is minus its logarithm; where an image is certified by far it has no more to gain. Slack is the
    logarithm of clean margin over the distance from it to m: positive where an image is certified.
    """
    log_factors = _log_factors(log_radius, len(net.cells))
    log_unit = sum(log_factors) + np.log(ZOOM)
    whole = net.rescaled([jnp.exp(f) for f in log_factors], zoom=ZOOM)
    radius = jnp.exp(log_radius + np.log(ZOOM))
    bound = bounds.margin(whole, ZOOM * images, labels, radius, norm=norm, method=method, clip=PIXELS)
    bound = jnp.maximum(bound, np.finfo(bound.dtype).min)
    logits = net(images)
    clean = clean_margin(logits, labels)
    unit = jnp.exp(log_unit)
    is_far = -bound > 20 * unit
    far = jnp.logaddexp(jnp.log(jnp.where(is_far, -bound, 1)), log_unit) - log_unit
    near = jnp.log1p(jax.nn.softplus(jnp.where(is_far, 0, -bound) / jnp.where(unit > 0, unit, 1)))
    deviation = jnp.maximum(clean * unit - bound, np.finfo(bound.dtype).tiny)
    slack = jnp.log(jnp.where(clean > 0, clean, 1)) - (jnp.log(deviation) - log_unit)
    return logits, -jnp.where(is_far, far, near), lax.stop_gradient(jnp.where(clean > 0, slack, 0))


def radius(net: NetworkFunction, images, labels, key, log_radius, *, norm="linf", method="ibp", entries=4):
    """R = log(current radius + certified radius), by the implicit gradient; the largest radius is searched for from the current.

    Images that are classified wrongly, or cannot be certified at all, stay at the current radius and have no gradient.
    Slack is the logarithm of certified radius over current one.
    """
    current = jnp.exp(log_radius + np.log(ZOOM))
    found = _zoomed_radius(net, images, labels, log_radius, norm=norm, method=method)
    logits = net(images)
    slack = jnp.log(jnp.maximum(found, np.finfo(found.dtype).tiny)) - jnp.log(current)
    is_right = clean_margin(logits, labels) > 0
    return logits, jnp.log(current + found) - np.log(ZOOM), lax.stop_gradient(jnp.where(is_right, slack, 0))


def log_certified_radius(net: NetworkFunction, images, labels, log_start, *, norm="linf", method="ibp") -> jax.Array:
    """[batch]: logarithm of a certified radius of the whole network in pixels, -inf where there is none; a lower bound."""
    return jnp.log(_zoomed_radius(net, images, labels, log_start, norm=norm, method=method)) - np.log(ZOOM)


def _zoomed_radius(net, images, labels, log_start, **options):
    log_factors = _log_factors(log_start, len(net.cells))
    whole = net.rescaled([jnp.exp(f) for f in log_factors], zoom=ZOOM)
    start = lax.stop_gradient(jnp.exp(log_start + np.log(ZOOM)))
    return bounds.certified_radius(whole, ZOOM * images, labels, clip=PIXELS, start=start, **options)


CERTIFICATES = {"cell": cell, "margin": margin, "radius": radius}


def chained(net: NetworkFunction, images, radius, *, norm="linf", method="ibp") -> tuple[jax.Array, jax.Array]:
    """Bounds of the logits over the l_inf ball of `radius` [batch] pixels, from one cell at a time.

    Every stage is bounded on the box whose side is the largest deviation of the two states that enter it. Looser than bounds
    of the whole, and out of the range of float32 within a few cells, but sound.
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
    return bounds.bound(lambda state: net.head(jnp.moveaxis(state, 0, 1)), _front(last), widths[-1], method=method)


def by_example(stage: Callable) -> Callable:
    """A stage with the batch first, as bounds take it: tuple of states [batch, channel, height, width] -> the same."""
    return lambda states: jnp.moveaxis(stage(*(jnp.moveaxis(s, 0, 1) for s in states)), 1, 0)


def _front(states):
    return jax.tree.map(lambda s: jnp.moveaxis(s, 1, 0), states)


def _largest_deviation(f, x, radius, **options):
    lower, upper = bounds.deviation(f, x, radius, **options)
    return jnp.maximum(-lower, upper).reshape(len(radius), -1).max(1)


def _with_half_width(f, x, radius, draw, **options):
    """f(x), and half the mean distance of its bounds [batch]; of the entries that draw [batch, entries] in [0, 1) picks."""
    rows = None
    if draw is not None:
        shape = jax.eval_shape(f, x).shape
        size, entries = int(np.prod(shape[1:])), draw.shape[1]
        places = ((jnp.arange(entries) + draw) * (size / entries)).astype(jnp.int32).T
        rows = (jnp.arange(size) == jnp.minimum(places, size - 1)[..., None]).astype(jax.tree.leaves(x)[0].dtype)
        rows = rows.reshape(entries, *shape)
    value, lower, upper = bounds.deviation(f, x, radius, rows=rows, **options, with_value=True)
    width = (upper - lower) / 2
    return value, width.mean(0) if draw is not None else width.reshape(len(width), -1).mean(1)


def _uniform(key, batch, shape):
    """[batch, *shape] in [0, 1), those of image i from (key, i) alone."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(batch))
    return jax.vmap(lambda k: jax.random.uniform(k, shape))(keys)


def _log_factors(log_radius, cells):
    """Logarithms by which states shrink ahead of each cell, so that widths neither vanish nor exceed 1 by much."""
    sizes = [jnp.maximum(log_radius + (i + 1) * GROWTH, 0.0) for i in range(-1, cells)]
    return [lax.stop_gradient(before - after) for before, after in zip(sizes[:-1], sizes[1:], strict=True)]


def clean_margin(logits, labels):
    """[batch]: the label's logit less the largest other."""
    own = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
    others = jnp.where(jnp.arange(logits.shape[1]) == labels[:, None], -jnp.inf, logits)
    return own - others.max(1)


# ---- the radius


