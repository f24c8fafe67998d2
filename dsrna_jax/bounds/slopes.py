"""Slopes, optimised once for bounds of other inputs, radii or weights."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from dsrna_jax.bounds.alpha_crown import shared_slopes
from dsrna_jax.bounds.backward import rows_of
from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.checks import check_rows
from dsrna_jax.bounds.options import Given, Options, Shares
from dsrna_jax.bounds.output import bounded_output
from dsrna_jax.bounds.rounding import in_full_precision


@in_full_precision
def optimised_slopes(
    f: Callable[..., Float[Array, "batch *output"]],
    x: PyTree[Float[Array, "batch ..."]],
    *,
    radius: float | Float[Array, "*batch"] | None = None,
    rows: Float[Array, "row batch *output"] | None = None,
    norm: str = "linf",
    method: str = "crown",
    clip: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    given: Given | None = None,
) -> dict[str, Shares]:
    """Shares of the slopes that alpha-CROWN (Xu et al. 2021, arXiv:2011.13824) finds for all outputs together.

    The share of a hinge is 0 for the slope left of the kink, and 1 for that right of it: the lower plane of relu has the share
    as its slope. Smooth functions and products have two shares, of the planes below and above: a tangent touches at this share
    of the way over the points where it may, and a plane of a product lies so far between McCormick's two. Any shares are sound,
    for other inputs, radii and weights too: give them to `bound`, `margin` and the others as `slopes`.

    Args:
      rows: [row, batch, ...], functionals of f's output, whose lower bounds are raised in sum; by default both sides of every
        entry.
      method: of the intermediate bounds; tighter ones by default than in `bound`, since slopes are optimised once.
      The rest as in `bound`.

    Returns: {"relu_0": [batch, ...], "tanh_0": ([batch, ...], [batch, ...])}, of the shapes of the operations' values.
    """
    bounded = bounded_output(
        f, x, Options(radius, norm, method, clip, box, chunk, iterations, given, channel_axis=channel_axis, optimizer=optimizer)
    )
    output = bounded.graph.output
    if rows is None:
        every = rows_of(output, jnp.arange(output.size))
        rows = jnp.concatenate([every, -every])
    check_rows(rows, output.value)
    shares = shared_slopes(bounded.graph, bounded.ball, bounded.relaxations[0], output, rows, bounded.options.ascent)
    return {node.name: share for node, share in shares.items()}
