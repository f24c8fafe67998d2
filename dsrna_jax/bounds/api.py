"""Bounds of functions with any outputs. `margins` has those of classifiers."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float, PyTree

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.explanation import Explanation, explanation
from dsrna_jax.bounds.options import Given, Options, Slopes
from dsrna_jax.bounds.output import bounded_output
from dsrna_jax.bounds.refinement import intermediate_names
from dsrna_jax.bounds.rounding import ends, in_full_precision

Input = PyTree[Float[Array, "batch ..."]]
Function = Callable[..., Float[Array, "batch *output"]]


@in_full_precision
def bound(
    f: Function,
    x: Input,
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
) -> tuple[Float[Array, "batch *output"], Float[Array, "batch *output"]]:
    """Lower and upper bounds of every entry of f(x') for all x' within `radius` of x, or in `box`.

    Args:
      f: maps x [batch, ...] (an array or a pytree of them) to [batch, ...], each example by itself.
      x: floating-point pixels, or whatever f takes.
      radius: of the ball, a number or [batch], in units of x, >= 0; may be traced. Of an infinite one nothing is known.
      norm: of the ball: "linf", "l2" or "l1", over all entries of an example together; or "l0", with `clip`: the radius is then
        the number of pixels that may take any valid value.
      method: one of `METHODS`. The default is the tightest whose cost does not grow with the width of the network. The search's
        certificates, which are differentiated in every step, default to "ibp"; `certify`, which has time, to "hz_crown".
      clip: (low, high) that x' stays within, as pixels do in (0, 1); None for no limit, since x may be anything. Commands and
        certificates, whose x are pixels, clip.
      channel_axis: of "l0": the axis of x along which entries are one pixel, -1 for images [batch, height, width, channel] and 1
        for [batch, channel, height, width]. Needed for x of four axes; otherwise None, for entries that are pixels each.
      box: a `Box` that holds x, in place of a ball: bounds then hold for all x' in it, and in `clip`.
      chunk: entries bounded at a time in backward passes; memory grows with it.
      iterations: optimisation steps of alpha_crown, which ends where no bound gains; there are none without hinges, smooth
        functions of one variable, and products of two values.
      optimizer: of these steps, a transformation of optax; by default Adam, whose step of 0.5 falls by 2 % a step. Smooth
        functions take a tenth of its steps, and products a fifth.
      given: sound bounds of intermediate values by name, {"relu_0": (lower, upper)}, as `intermediate` returns them.
      slopes: of the planes between which hinges such as relu, smooth functions and products lie. "neuron", the default since it
        is the tightest: each bound has its own, which alpha_crown optimises, and `chunk` limits their memory. "shared": bounds
        of a value that are computed at a time (by `chunk`) have the same, which takes less memory and is looser. Or shares by
        name, as `optimised_slopes` returns them: crown takes them as they are, and alpha_crown starts there.

    Returns: (lower, upper), each of the shape of f(x).
    Raises: InputError for wrong arguments, for an f that mixes examples, and if memory would not suffice, by estimate;
      NotImplementedError naming a primitive that has no rule, and the line that calls it.
    """
    options = Options(
        radius, norm, method, clip, box, chunk, iterations, given, slopes=slopes, channel_axis=channel_axis, optimizer=optimizer
    )
    return bounded_output(f, x, options).values()


@in_full_precision
def deviation(
    f: Function,
    x: Input,
    *,
    radius: float | Float[Array, "*batch"] | None = None,
    rows: Float[Array, "row batch *output"] | None = None,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    given: Given | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Lower and upper bounds of f(x') - f(x), precise also where they are small beside f(x), or the radius is small beside x.

    Args:
      rows: [row, batch, ...], functionals of f's output for each example: bounds are then those of <rows, f(x') - f(x)>. Every
        row costs a backward pass for each side (none with "ibp").
      The rest as in `bound`.

    Returns: (lower, upper), each of the shape of f(x), or [row, batch].
    """
    options = Options(
        radius,
        norm,
        method,
        clip,
        box,
        chunk,
        iterations,
        given,
        arithmetic="exact",
        channel_axis=channel_axis,
        optimizer=optimizer,
    )
    return bounded_output(f, x, options).deviations(rows)


@in_full_precision
def value_and_deviation(
    f: Function,
    x: Input,
    *,
    radius: float | Float[Array, "*batch"] | None = None,
    rows: Float[Array, "row batch *output"] | None = None,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    chunk: int = 64,
    iterations: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    given: Given | None = None,
) -> tuple[Float[Array, "batch *output"], tuple[Float[Array, "..."], Float[Array, "..."]]]:
    """(f(x), `deviation`), as `jax.value_and_grad`: one evaluation of f, and one of its derivatives, serves both."""
    options = Options(
        radius,
        norm,
        method,
        clip,
        box,
        chunk,
        iterations,
        given,
        arithmetic="exact",
        channel_axis=channel_axis,
        optimizer=optimizer,
    )
    bounded = bounded_output(f, x, options)
    return bounded.value, bounded.deviations(rows)


@in_full_precision
def intermediate(
    f: Function,
    x: Input,
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
) -> dict[str, tuple[Float[Array, "..."], Float[Array, "..."]]]:
    """Bounds of the values that enter non-linear operations, {"relu_0": (lower, upper)}; arguments as in `bound`.

    Operands of hinges, such as relu, that interval arithmetic shows to lie on one side of the kink may keep its bounds.
    """
    options = Options(
        radius, norm, method, clip, box, chunk, iterations, given, slopes=slopes, channel_axis=channel_axis, optimizer=optimizer
    )
    bounded = bounded_output(f, x, options)
    intervals = bounded.relaxations[0].intervals
    return {name: ends(node.value, intervals[node]) for node, name in intermediate_names(bounded.graph).items()}


def explain(f: Function, x: PyTree, *, chunk: int = 64, iterations: int = 20) -> Explanation:
    """Operations and neurons of f, and an estimate of the cost of every method; computes nothing. `str` of it is a table.

    Args:
      x: arrays, or `jax.ShapeDtypeStruct`s.
      f, chunk, iterations: as in `bound`.
    """
    explained = []
    jax.eval_shape(lambda x: explained.append(explanation(traced(f, x), chunk, iterations)), x)
    return explained[0]
