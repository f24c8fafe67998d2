"""Linear functions of the input below and above a function: what backward passes have in hand before they take a minimum."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, PyTree

from dsrna_jax.bounds.alpha_crown import optimised_relaxation
from dsrna_jax.bounds.backward import linear_lower_bound
from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.options import Given, Options, Slopes
from dsrna_jax.bounds.output import bounded_output
from dsrna_jax.bounds.rounding import gamma, in_full_precision, lowered
from dsrna_jax.bounds.rows import Rows, window_axes


class LinearBounds(NamedTuple):
    """Linear functions with lower_offset + <lower_coefficients, x' - x> <= f(x') for all x' of the region, and upper ones.

    Coefficients are [batch, *output, *input], for every leaf of x; offsets are [batch, *output].
    """

    lower_coefficients: PyTree[Float[Array, "batch ..."]]
    lower_offset: Float[Array, "batch *output"]
    upper_coefficients: PyTree[Float[Array, "batch ..."]]
    upper_offset: Float[Array, "batch *output"]


@in_full_precision
def linear(
    f: Callable[..., Float[Array, "batch *output"]],
    x: PyTree[Float[Array, "batch ..."]],
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
) -> LinearBounds:
    """Linear bounds of every entry of f(x') over a ball or a box around x, such as CROWN's (Zhang et al. 2018, equation 3).

    Arguments as in `bound`; "ibp" gives the planes of "crown_ibp". The offsets include all allowances for rounding.
    """
    options = Options(
        radius, norm, method, clip, box, chunk, iterations, given, slopes=slopes, channel_axis=channel_axis, optimizer=optimizer
    )
    bounded = bounded_output(f, x, options)
    graph, relaxed = bounded.graph, bounded.relaxations[0].prepared(bounded.graph, bounded.graph.output)
    output, structure = graph.output, jax.tree.structure(x)
    value = output.value

    rows, batch = Rows(output, window_axes(graph, output)), len(value)
    blocks = rows.blocks(jnp.zeros(output.size, bool), rows.at_once(graph, chunk, batch))

    def from_below(entries):
        """Coefficients and losses of the entries, and of their negatives."""
        functional, planes = rows.functional(entries), relaxed
        if options.record.optimises:
            planes = optimised_relaxation(graph, bounded.ball, relaxed, output, functional, options.ascent)
        coefficients, losses = linear_lower_bound(graph, planes, output, functional)
        count = 2 * entries.size
        if coefficients is None:
            coefficients = [jnp.zeros((count, *leaf.value.shape), value.dtype) for leaf in graph.inputs]
        return coefficients, jnp.broadcast_to(-sum(losses) * (1 + gamma(len(losses) + 4, value.dtype)), (count, batch))

    coefficients, losses = lax.map(from_below, blocks)
    low, high = zip(*(rows.sides(blocks, of_leaf) for of_leaf in coefficients), strict=True)
    low_loss, high_loss = rows.sides(blocks, losses)
    offsets = lowered(value, low_loss), -lowered(-value, high_loss)
    sides = [
        jax.tree.unflatten(structure, [_where_known(offset, leaf) for leaf in side_of_leaves])
        for offset, side_of_leaves in zip(offsets, (low, map(jnp.negative, high)), strict=True)
    ]
    return LinearBounds(sides[0], offsets[0], sides[1], offsets[1])


def _where_known(offset, coefficients):
    """The coefficients, and 0 where the offset is infinite: nothing is known there."""
    known = jnp.isfinite(offset).reshape(*offset.shape, *[1] * (coefficients.ndim - offset.ndim))
    return jnp.where(known, coefficients, 0)
