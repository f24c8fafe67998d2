"""The intervals of a graph's values, and the part of each that rounding adds."""

import collections

import jax
import jax.numpy as jnp

from dsrna_jax.bounds.graph import Graph, Linear, Node, partial_before
from dsrna_jax.bounds.relaxations.interval import Interval
from dsrna_jax.bounds.relaxations.planes import Planes
from dsrna_jax.bounds.rounding import Magnitudes, Rounding, gamma, reach_of, smallest_normal
from dsrna_jax.kernels.reductions import total_of


class Intervals(dict[Node, Interval]):
    """{node: interval of its deviation}, rounding included."""

    def __init__(self, graph: Graph, rounding: Rounding):
        super().__init__()
        self.rounding = rounding
        self.uses = collections.Counter(parent for node in graph.nodes for parent in node.parents)
        self._enclosures: dict[Node, Interval] = {}
        self._magnitudes: dict[Node, Magnitudes] = {}
        self._errors: dict[Node, jax.Array] = {}

    def enclosure(self, node: Node, **options: bool) -> Interval:
        """Interval of an operation that is not linear, from those of its operands when it is first asked for.

        It lacks the error of evaluating the operation.
        """
        if node not in self._enclosures:
            self._enclosures[node] = node.operation.enclosure(node, [self[parent] for parent in node.parents], **options)
        return self._enclosures[node]

    def magnitudes(self, node: Node) -> Magnitudes:
        """Sizes of a node that its rounding errors are relative to, kept until its interval is replaced."""
        known = self._magnitudes.get(node)
        if known is None or known.interval is not self[node]:
            known = self._magnitudes[node] = Magnitudes(node, self[node])
        return known

    def error(self, node: Node) -> jax.Array:
        """Bound of the rounding error of a node as a linear function of the values after the relaxed operations before it.

        It covers the evaluation of those operations (if f's arithmetic counts), and a functional of the node that is propagated
        through them backwards: |functional| * error bounds what rounding adds.
        """
        if node not in self._errors:
            self._errors[node] = jax.lax.stop_gradient(self._error(node))
        return self._errors[node]

    def _error(self, node):
        operation, rounding = node.operation, self.rounding
        if operation is None:
            return rounding.of_interval(self.magnitudes(node), 1) if rounding.counts_f else jnp.zeros_like(node.value)
        if not isinstance(operation, Linear):
            return rounding.of_interval(self.magnitudes(node), operation.roundings) + self._evaluation_error(node, self[node])
        errors = []
        for parent in node.parents:
            # The transposed operation's result is summed with those of the other users of the parent.
            backward = operation.shares + self.uses[parent] + 1
            errors.append(self.error(parent) + rounding.of_interval(self.magnitudes(parent), operation.terms or 0, backward))
        passed = (operation.errors or operation.magnitude)(*errors)
        return passed if operation.terms is None else passed + rounding.of_result(self.magnitudes(node))

    def evaluated(self, node: Node, enclosure: Interval) -> Interval:
        """The enclosure of an operation that is not linear, with the error of evaluating it."""
        enclosure = self._where_known(node, enclosure)
        lower, upper = self.rounding.outwards(Magnitudes(node, enclosure), node.operation.roundings)
        if not self.rounding.counts_f:
            return Interval(lower, upper)
        error = self._evaluation_error(node, enclosure)
        return Interval(lower - error, upper + error)

    def _where_known(self, node, enclosure):
        """The enclosure, but NaN where the interval of an operand is: f may have no value there, and then the result has none."""
        operation = node.operation
        if getattr(operation, "takes_unknown", False):
            return enclosure
        for parent in node.parents[: getattr(operation, "used_intervals", None)]:
            unknown = _is_unknown(self[parent])
            unknown = unknown.any(tuple(range(unknown.ndim - node.value.ndim)))  # the entries of a maximum lie ahead
            if getattr(operation, "takes_overflow", False):
                shape = [-1 if axis == node.batch_axis else 1 for axis in range(node.value.ndim)]
                unknown &= self._lacks_value(parent).reshape(shape)
            if unknown.shape == node.value.shape:
                enclosure = Interval(*(jnp.where(unknown, jnp.nan, side) for side in enclosure))
        return enclosure

    def _lacks_value(self, node):
        """Whether a node or one before it may have no value, [batch]; other intervals are unknown since they overflow."""
        lacks = jnp.zeros(node.value.shape[node.batch_axis], bool)
        for partial in partial_before(node):
            axes = tuple(axis for axis in range(partial.value.ndim) if axis != partial.batch_axis)
            lacks |= _is_unknown(self[partial]).any(axes)
        return lacks

    def _evaluation_error(self, node, interval):
        """The error of f's evaluation that is relative to the operation's `size`, and of results that are flushed to 0."""
        if not self.rounding.counts_f or getattr(node.operation, "has_whole_values", False):
            return 0.0
        size, flushed = getattr(node.operation, "size", None), smallest_normal(node.value.dtype)
        if size is None:
            return flushed
        parent = node.parents[0]
        x, f = (jnp.abs(n.value) + reach_of(i) for n, i in ((parent, self[parent]), (node, interval)))
        return 2 * gamma(node.operation.roundings, f.dtype) * jax.lax.stop_gradient(size(x, f)) + flushed

    def widened(self, node: Node, planes: Planes) -> Planes:
        """The planes of a node, with the errors of its parents, of its own evaluation, and of products with the coefficients."""
        ranked = jax.lax.broadcast_to_rank
        gaps = []
        sizes = self._coefficient_errors(node, planes)
        below = self._gap(node, planes.lower, sizes)
        above = below if planes.upper is planes.lower else self._gap(node, planes.upper, sizes)
        for gap, added in ((planes.lower_gap, below), (planes.upper_gap, above)):
            rank = max(gap.ndim, added.ndim)
            gaps.append(ranked(gap, rank) + ranked(added, rank))
        return planes._replace(lower_gap=gaps[0], upper_gap=gaps[1])

    def _coefficient_errors(self, node, planes):
        """Bounds of the error that one unit of the coefficient of each parent adds; None of parents that planes do not use."""
        errors = []
        for parent, *used in zip(node.parents, planes.lower, planes.upper, strict=True):
            # A functional takes the type of each node that it meets, so that coefficients are rounded to that of the parent.
            dtype = max(node.value.dtype, parent.value.dtype, key=lambda dtype: jnp.finfo(dtype).eps)
            is_used = any(coefficient is not None for coefficient in used)
            unit = gamma(self.uses[parent] + 4, dtype)
            errors.append(self.error(parent) + unit * self.magnitudes(parent).reach if is_used else None)
        return errors

    def _gap(self, node, coefficients, sizes):
        gap = self.error(node)
        for coefficient, size in zip(coefficients, sizes, strict=True):
            if coefficient is not None:
                product = jnp.abs(coefficient) * jax.lax.stop_gradient(jax.lax.broadcast_to_rank(size, coefficient.ndim))
                rows = coefficient.ndim - size.ndim  # optimised slopes have an axis of rows in front of those of the node
                ahead = size.ndim - node.value.ndim  # and the entries of a maximum lie ahead of the axes of the node
                product = total_of(product) if (rows, ahead) == (0, 1) else product.sum(tuple(range(rows, rows + ahead)))
                gap = jax.lax.broadcast_to_rank(gap, product.ndim) + product
        return gap


def _is_unknown(interval):
    return jnp.isnan(interval.lower) | jnp.isnan(interval.upper)
