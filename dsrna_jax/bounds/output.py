"""Bounds of a function's output by one method."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds import forward
from dsrna_jax.bounds.alpha_crown import is_adjustable, optimised_lower_bound
from dsrna_jax.bounds.backward import Relaxed, lower_bound, sides_of
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.checks import check_memory, check_rows, traced
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.refinement import intermediate_bounds, is_affine
from dsrna_jax.bounds.relaxations.interval import tightest
from dsrna_jax.bounds.rounding import known_or, lowered
from dsrna_jax.bounds.rows import whole_rows_at_once
from dsrna_jax.bounds.windows import Functional


@dataclasses.dataclass(frozen=True)
class OutputBounds:
    """Bounds of a graph's output, and of its deviation, over a ball.

    relaxations: of intermediate values. The first has the tightest intervals; the best bound of all counts.
    """

    graph: Graph
    ball: Ball
    options: Options
    relaxations: tuple[Relaxed, ...]

    @property
    def value(self) -> jax.Array:
        """The output at the point of the trace, f(x)."""
        return self.graph.output.value

    def lower(self, rows: jax.Array | Functional, is_enough: Callable | None = None) -> jax.Array:
        """Lower bounds of functionals of the output's deviation: rows [row, *output shape], or on windows -> [row, batch].

        is_enough: maps the numbers of rows, and their bounds, to a mask of those that are not optimised further.
        """
        graph, method = self.graph, self.options.record
        if not method.goes_back:
            return self._from_intervals(rows)
        lower = self._from_planes(rows)
        if not (method.optimises and any(map(is_adjustable, graph.nodes))):
            return lower
        relaxed, ascent = self.relaxations[0], self.options.ascent
        mask = is_enough or (lambda numbers, bound: jnp.zeros(bound.shape, bool))

        def optimised(rows, lower, numbers):
            enough = lambda bound: mask(numbers, jnp.fmax(bound, lower))  # noqa: E731
            best = optimised_lower_bound(graph, self.ball, relaxed, graph.output, rows, ascent, is_enough=enough)
            return jnp.fmax(lower, best)

        numbers = jnp.arange(len(lower))
        return optimised(rows, lower, numbers) if ascent.shared else self._in_parts(optimised, rows, lower, numbers)

    def values(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bounds of every entry of the output."""
        value, (lower, upper) = self.value, self.sides()
        moves = self._moves(value)
        return jnp.where(moves, lowered(value, lower), value), jnp.where(moves, -lowered(-value, -upper), value)

    def deviations(self, rows=None) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bounds of every entry of the output's deviation, or of functionals [row, *output shape] of it."""
        if rows is None:
            lower, upper = self.sides()
            moves = self._moves(lower)
        else:
            check_rows(rows, self.value)
            both = self.lower(jnp.concatenate([rows, -rows]))
            lower, upper, moves = both[: len(rows)], -both[len(rows) :], self.ball.radius != 0
        return jnp.where(moves, known_or(lower, -jnp.inf), 0), jnp.where(moves, known_or(upper, jnp.inf), 0)

    def sides(self) -> tuple[jax.Array, jax.Array]:
        """`deviations` of every entry, where the radius is positive and the bounds are no NaN."""
        output = self.graph.output
        interval = self.relaxations[0].intervals[output]
        ends = interval.lower, interval.upper
        if not self.options.record.goes_back and (self.ball.norm == "linf" or not is_affine(output)):
            return ends

        def lower(rows: Functional):
            return self.lower(rows.array if rows.is_dense else rows)

        return tightest([ends, sides_of(output, lower, chunk=self.options.chunk, graph=self.graph)])

    def _moves(self, output):
        """Whether each example may move, or its radius is unknown (NaN), in the shape of the output."""
        return self.ball.radius.reshape(-1, *[1] * (output.ndim - 1)) != 0

    def _from_intervals(self, rows):
        return lower_bound(self.graph, self.ball, self.relaxations[0], self.graph.output, rows, stop=True)

    def _from_planes(self, rows):
        """The best bound of all relaxations."""
        output = self.graph.output

        def best(rows):
            by_intervals = self._from_intervals(rows)
            by_planes = [lower_bound(self.graph, self.ball, relaxed, output, rows) for relaxed in self.relaxations]
            return functools.reduce(jnp.fmax, [by_intervals, *by_planes])

        return self._in_parts(best, rows)

    def _in_parts(self, bound: Callable, rows, *more):
        """`bound` of rows, and of more arrays [row, ...], for as many rows at a time as a processor's cache has room for.

        Rows on windows come in such chunks.
        """
        if isinstance(rows, Functional):
            return bound(rows, *more)
        count = whole_rows_at_once(self.graph, len(rows))
        parts = [x.reshape(-1, count, *x.shape[1:]) for x in (rows, *more)]
        return lax.map(lambda part: bound(*part), parts).reshape(len(rows), -1)


def bounded_output(f: Callable, x, options: Options) -> OutputBounds:
    """`OutputBounds` of f around x. Raises: as `bounds.bound`."""
    return output_bounds(traced(f, x), options)


def output_bounds(graph: Graph, options: Options) -> OutputBounds:
    """`OutputBounds` of a graph. Raises: InputError where memory would not suffice, or for options that do not fit."""
    check_memory(graph, options)
    ball, method = options.around([leaf.value for leaf in graph.inputs]), options.record
    boxes = forward.intervals(graph, ball, options.rounding)
    boxes.error(graph.output)  # made here, since bounds may be computed in a loop over rows
    relaxations = [intermediate_bounds(graph, ball, boxes, options)]
    if method.tries_boxes:
        relaxations.append(Relaxed(boxes))
    if method.goes_back:
        relaxations = [relaxed.prepared(graph, graph.output) for relaxed in relaxations]
    return OutputBounds(graph, ball, options, tuple(relaxations))
