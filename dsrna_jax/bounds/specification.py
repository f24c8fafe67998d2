"""Properties of a function's output, and lower bounds of how far they hold."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.options import Given, Options, Slopes
from dsrna_jax.bounds.output import OutputBounds, bounded_output
from dsrna_jax.bounds.rounding import in_full_precision, lowered
from dsrna_jax.errors import InputError, shown
from dsrna_jax.inputs import check_counts, check_labels, is_known, is_real

ROUNDED = 1.0  # a radius for `lowest`, which takes values at radius 0 as they are: proofs allow for rounding there too


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Specification:
    """A property of outputs y: in every clause, at least one of its rows has <row, y> + offset > 0.

    rows: [row, *output], or [batch, row, *output] for rows of each example.
    offsets: [row] or [batch, row].
    clauses: numbers of the rows of each clause. By default every row is a clause by itself, so that all rows must hold.
    """

    rows: Float[Array | np.ndarray, "..."]
    offsets: Float[Array | np.ndarray, "*batch row"]
    clauses: tuple[tuple[int, ...], ...] | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def of_label(cls, labels: Int[Array, " batch"], classes: int) -> "Specification":
        """The property that each logit but the label's is smaller: rows [batch, classes - 1, classes], in ascending order."""
        check_counts(2, classes=classes)
        check_labels(labels, np.size(labels), classes)
        labels = jnp.asarray(labels)
        every = jnp.arange(classes)[None]
        others = every[:, :-1] + (every[:, :-1] >= labels[:, None])
        is_label, is_other = (every == labels[:, None])[:, None], every[None] == others[..., None]
        # A label that is known only as it is computed may be no class: then nothing is certified.
        rows = jnp.where(is_label.any(-1, keepdims=True), is_label.astype(float) - is_other.astype(float), jnp.nan)
        return cls(rows, jnp.zeros(rows.shape[:2]))

    @property
    def of_every_row(self) -> tuple[tuple[int, ...], ...]:
        """The clauses, written out."""
        return self.clauses if self.clauses is not None else tuple((row,) for row in range(np.shape(self.offsets)[-1]))

    def of_examples(self, examples: Int[Array | np.ndarray, " taken"]) -> "Specification":
        """The specification of some examples, if it has rows of each, [batch, row, *output], and offsets [batch, row]."""
        return dataclasses.replace(self, rows=self.rows[examples], offsets=self.offsets[examples])

    def holds(self, values: Float[Array, "batch row"]) -> Bool[Array, " batch"]:
        """Whether the property holds for values <row, y> + offset, or is certified by lower bounds of them."""
        return jnp.stack([(values[:, list(clause)] > 0).any(1) for clause in self.of_every_row]).all(0)

    def checked(self) -> "Specification":
        """A copy with arrays for rows and offsets.

        Raises: InputError unless these are real numbers, finite where they are known, and the clauses name some of the rows.
        """
        parts = {}
        for name in ("rows", "offsets"):
            part = getattr(self, name)
            part = part if hasattr(part, "dtype") else np.asarray(part)
            if not is_real(part) or np.ndim(part) == 0:
                raise InputError(f"{name} of a specification must be an array of numbers, got {part.dtype} {np.shape(part)}")
            if is_known(part) and not np.isfinite(np.asarray(part)).all():
                raise InputError("rows and offsets of a specification must be finite")
            parts[name] = part
        count = parts["offsets"].shape[-1]
        clauses = self.clauses if self.clauses is not None else [(row,) for row in range(count)]
        if not clauses:
            raise InputError("a specification must have at least one row and one clause")
        for clause in clauses:
            is_named = isinstance(clause, tuple | list) and all(isinstance(row, int | np.integer) for row in clause)
            if not is_named or not clause or not all(0 <= row < count for row in clause):
                raise InputError(f"a clause must name some of the rows 0 to {count - 1}, got {shown(clause)}")
        return dataclasses.replace(self, **parts)

    def functionals(self, output: Float[Array, "batch *output"]) -> tuple[jax.Array, jax.Array]:
        """The rows for every example [row, batch, *output], and their offsets [row, batch].

        Raises: InputError for rows that do not fit the output, or as `checked`.
        """
        self = self.checked()
        batch, count = len(output), np.shape(self.offsets)[-1]
        shapes = [(*lead, count, *output.shape[1:]) for lead in ((), (batch,))]
        if np.shape(self.rows) not in shapes or np.shape(self.offsets) not in ((count,), (batch, count)):
            raise InputError(
                f"a specification for outputs {output.shape} has rows {shapes[0]} or {shapes[1]} and as many offsets, "
                f"got {np.shape(self.rows)} and {np.shape(self.offsets)}"
            )
        rows, offsets = jnp.asarray(self.rows, output.dtype), jnp.asarray(self.offsets, output.dtype)
        rows = jnp.moveaxis(rows, 1, 0) if rows.ndim > output.ndim else jnp.broadcast_to(rows[:, None], (count, *output.shape))
        return rows, jnp.broadcast_to(offsets, (batch, count)).T


@in_full_precision
def specification_margins(
    f: Callable[..., Float[Array, "batch *output"]],
    x: PyTree[Float[Array, "batch ..."]],
    specification: Specification,
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
) -> Float[Array, "batch row"]:
    """Lower bounds of <row, f(x')> + offset for every row of a specification, over all x' of the ball or box.

    The property is certified where `specification.holds` of them. As in `margin`, a row is bounded itself, which is tighter than
    what bounds of the outputs say about it, and alpha_crown raises a bound until it is positive.

    Args:
      specification: its rows fit the shape of f(x).
      arithmetic: as in `margin`.
      The rest as in `bound`.

    Returns: [batch, row].
    """
    options = Options(radius, norm, method, clip, box, chunk, iterations, given, arithmetic, slopes, channel_axis, optimizer)
    bounded = bounded_output(f, x, options)
    return lowest_rows(bounded, specification, bounded.ball.radius)


def lowest_rows(bounded: OutputBounds, specification: Specification, radius) -> Float[Array, "batch row"]:
    """`lowest` of every row of a specification; alpha_crown raises a bound until it is positive."""
    rows, offsets = specification.functionals(bounded.value)

    def finished(at, lower):
        return lowest(rows[at], offsets[at], bounded.value, lower, radius)

    return finished(slice(None), bounded.lower(rows, lambda at, lower: finished(at, lower) > 0)).T


def lowest(rows, offsets, output, lower, radius, *, terms: int | None = None) -> jax.Array:
    """Lower bounds [row, batch] of <row, y> + offset, from those of the deviation of <row, y>; their values at radius 0.

    terms: the most entries of a row that are not 0; all by default.
    """
    axes = tuple(range(2, rows.ndim))
    products = rows * output[None]
    value, size = products.sum(axes), jnp.abs(products).sum(axes)
    if offsets is not None:
        value, size = value + offsets, size + jnp.abs(offsets)
    terms = int(np.prod(rows.shape[2:])) + 1 if terms is None else terms
    return jnp.where(radius != 0, lowered(value, lower, size, terms=terms), value)
