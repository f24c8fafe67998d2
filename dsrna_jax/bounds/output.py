"""Bounds of a function's output by one method."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds import forward
from dsrna_jax.bounds.alpha_crown import optimised_lower_bound
from dsrna_jax.bounds.backward import Relaxed, lower_bound, sides_of
from dsrna_jax.bounds.balls import Ball, region
from dsrna_jax.bounds.checks import check_memory, traced
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.methods import Method, method_named
from dsrna_jax.bounds.refinement import Given, intermediate_bounds, is_affine
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.interval import tightest
from dsrna_jax.bounds.rounding import Rounding
from dsrna_jax.inputs import check_counts

CACHED = 2**20  # entries of functionals that are assumed to fit a processor's cache


@dataclasses.dataclass(frozen=True)
class OutputBounds:
    """Bounds of the deviation of a graph's output over a ball.

    relaxations: of intermediate values. The first has the tightest intervals; the best bound of all counts.
    """

    graph: Graph
    ball: Ball
    method: Method
    relaxations: tuple[Relaxed, ...]
    chunk: int
    iterations: int

    def lower(self, rows) -> jax.Array:
        """Lower bounds of functionals of the output's deviation: rows [row, *output shape] -> [row, batch]."""
        if not self.method.goes_back:
            return self._from_intervals(rows)
        lower = self._from_planes(rows)
        if not (self.method.optimises and any(isinstance(node.operation, Hinge) for node in self.graph.nodes)):
            return lower
        optimised = optimised_lower_bound(self.graph, self.ball, self.relaxations[0], self.graph.output, rows, self.iterations)
        return jnp.fmax(lower, optimised)

    def sides(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bounds of every entry of the output's deviation."""
        output = self.graph.output
        interval = self.relaxations[0].intervals[output]
        if not self.method.goes_back and (self.ball.norm == "linf" or not is_affine(output)):
            return interval.lower, interval.upper
        return tightest(
            [(interval.lower, interval.upper), sides_of(output, lambda rows: self.lower(rows.array), chunk=self.chunk)]
        )

    def _from_intervals(self, rows):
        return lower_bound(self.graph, self.ball, self.relaxations[0], self.graph.output, rows, stop=True)

    def _from_planes(self, rows):
        """The best bound of all relaxations, for as many rows at a time as a processor's cache has room for."""
        output = self.graph.output

        def best(rows):
            by_intervals = self._from_intervals(rows)
            by_planes = [lower_bound(self.graph, self.ball, relaxed, output, rows) for relaxed in self.relaxations]
            return functools.reduce(jnp.fmax, [by_intervals, *by_planes])

        room = CACHED // (output.value.shape[output.batch_axis] * max(node.size for node in self.graph.nodes))
        count = max(n for n in range(1, len(rows) + 1) if len(rows) % n == 0 and (n <= room or n == 1))
        return lax.map(best, rows.reshape(-1, count, *rows.shape[1:])).reshape(len(rows), -1)


def bounded_output(
    f: Callable, x, rounding: Rounding, *, radius, norm, method, clip, box, chunk, iterations, given
) -> OutputBounds:
    """`OutputBounds` of f around x; arguments and errors as in `bounds.bound`."""
    method_named(method)
    check_counts(chunk=chunk)
    check_counts(0, iterations=iterations)
    graph = traced(f, x)
    check_memory(graph, method, chunk, iterations)
    area = region([leaf.value for leaf in graph.inputs], radius=radius, norm=norm, clip=clip, box=box)
    return output_bounds(graph, area, rounding, method, chunk=chunk, iterations=iterations, given=given)


def output_bounds(
    graph: Graph, ball: Ball, rounding: Rounding, method: str, *, chunk: int, iterations: int, given: Given | None = None
) -> OutputBounds:
    """`OutputBounds` of a graph; arguments as in `bounds.bound`."""
    record = method_named(method)
    boxes = forward.intervals(graph, ball, rounding)
    boxes.error(graph.output)  # made here, since bounds may be computed in a loop over rows
    relaxations = [intermediate_bounds(graph, ball, boxes, record, chunk=chunk, iterations=iterations, given=given or {})]
    if record.tries_boxes:
        relaxations.append(Relaxed(boxes))
    if record.goes_back:
        relaxations = [relaxed.prepared(graph, graph.output) for relaxed in relaxations]
    return OutputBounds(graph, ball, record, tuple(relaxations), chunk, iterations)
