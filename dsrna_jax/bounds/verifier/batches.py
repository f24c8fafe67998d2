"""Lower bounds of a batch of sub-problems, as functions of shares, multipliers and weights."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8

from dsrna_jax.bounds.backward import lower_bound
from dsrna_jax.bounds.balls import Ball, Box, boxed
from dsrna_jax.bounds.checks import check_memory
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.options import Options, Shares
from dsrna_jax.bounds.rounding import gamma, reach_of
from dsrna_jax.bounds.specification import ROUNDED, Specification, lowest
from dsrna_jax.bounds.verifier.beta_crown import (
    Restricted,
    Split,
    cut_further,
    flat,
    restricted,
    shaped,
    with_neurons,
)
from dsrna_jax.bounds.verifier.pairwise import splittable
from dsrna_jax.bounds.verifier.subproblems import Numbers, Root, Subproblems, members_of


class AscentVariables(NamedTuple):
    """The fields of `Subproblems` by which bounds are optimised."""

    shares: Float[Numbers, "batch share"]
    multipliers: Float[Numbers, "batch neuron"]
    weights: Float[Numbers, "batch row"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of sub-problems, each of a combination of rows of the specification, or of the operand of a neuron.

    graph, area: of as many examples as there are sub-problems.
    root: of the whole problem.
    rows, offsets: of the specification.
    of_clause: whether a row belongs to the clause of a sub-problem, which has none if it has a target.
    targets: of each operand, 1 or -1 if it is the target, 0 otherwise; `at_middle` are the values of the targets there.
    has_alternatives: whether any clause has more than one row.
    """

    graph: Graph
    area: Ball
    root: Root
    rows: Float[Array, "row batch *output"]
    offsets: Float[Array, "row batch"]
    of_clause: Bool[Array, "batch row"]
    targets: Float[Array, "batch neuron"]
    at_middle: Float[Array, " batch"]
    has_alternatives: bool

    @classmethod
    def of(cls, f: Callable, specification: Specification, box: Box, root: Root, problems: Subproblems) -> "Batch":
        """The batch of these sub-problems of f; box: with as many examples."""
        graph = splittable(f, box.middle)
        check_memory(graph, Options(method="crown_ibp"))
        output, target = graph.output.value, jnp.asarray(problems.target)
        signs = jnp.sign(target).astype(output.dtype)[:, None]
        targets = signs * jax.nn.one_hot(jnp.abs(target) - 1, problems.first.shape[1], dtype=output.dtype)
        middles = {node: root.borders[node.index][node.operation.pieces // 2 - 1] for node in with_neurons(graph)}
        operands = jnp.concatenate([flat(node.parents[0].value - middle, node) for node, middle in middles.items()], 1)
        return cls(
            graph,
            boxed([leaf.value for leaf in graph.inputs], box, None),
            root,
            *specification.functionals(output),
            jnp.asarray(members_of(specification))[problems.clause] & (target == 0)[:, None],
            targets,
            (targets * operands).sum(1),
            max(map(len, specification.of_every_row)) > 1,
        )

    @property
    def nodes(self) -> list[Node]:
        """The nodes with neurons."""
        return with_neurons(self.graph)

    def by_node(self, entries: Numbers) -> dict[Node, Array]:
        """Entries [batch, neuron] in the shapes of the nodes."""
        return dict(zip(self.nodes, shaped(entries, self.nodes), strict=True))

    def shares_by_node(self, shares: Float[Numbers, "batch share"]) -> dict[Node, Shares]:
        """Shares as in `relaxations`."""
        owners = [node for node in self.nodes for _ in range(1 + node.operation.has_two_shares)]
        parts = iter(shaped(shares, owners))
        return {node: (next(parts), next(parts)) if node.operation.has_two_shares else next(parts) for node in self.nodes}

    @property
    def paces(self) -> Float[np.ndarray, " share"]:
        """The step of each share, relative to that of a hinge."""
        sizes = [(node.size * (1 + node.operation.has_two_shares), node.operation.pace) for node in self.nodes]
        return np.concatenate([np.full(size, pace, np.float32) for size, pace in sizes])

    def restricted(self, first: Int8[Numbers, "batch neuron"], last: Int8[Numbers, "batch neuron"]) -> Restricted:
        """The sub-problems in which neurons lie in these pieces."""
        return restricted(self.graph, self.root.ends, self.root.borders, self.by_node(first), self.by_node(last))

    def halved(self, of_parts: Restricted, problems: Subproblems, neuron: Int[Array, " batch"], is_above) -> Restricted:
        """The sub-problems above, or below, the middle border of one neuron of each."""
        entries, first, last = jnp.arange(problems.first.shape[1]), *map(jnp.asarray, (problems.first, problems.last))
        is_cut, middle = entries[None] == neuron[:, None], (first + last + 1) // 2
        first, last = jnp.where(is_cut & is_above, middle, first), jnp.where(is_cut & ~is_above, middle - 1, last)
        return cut_further(of_parts, self.root.borders, *map(self.by_node, (first, last, is_cut)))

    def relaxed(self, variables: AscentVariables, of_parts: Restricted) -> Split:
        """The relaxed neurons."""
        shares, multipliers = self.shares_by_node(variables.shares), self.by_node(variables.multipliers)
        return Split.of(self.graph, of_parts, shares, multipliers, self.by_node(self.targets))

    def functional(self, variables: AscentVariables) -> tuple[Float[Array, "1 batch *output"], Float[Array, "1 batch"]]:
        """The combinations of rows by their weights, and their offsets."""
        weights = variables.weights.T
        offsets = jnp.einsum("rb,rb->b", weights, self.offsets) + self.at_middle
        return jnp.einsum("rb,rb...->b...", weights, self.rows)[None], offsets[None]

    def bound(self, variables: AscentVariables, of_parts: Restricted) -> Float[Array, " batch"]:
        """Lower bounds of the combined rows, or of the targets, of `restricted` sub-problems."""
        functional, offset = self.functional(variables)
        relaxation, output = self.relaxed(variables, of_parts), self.graph.output
        lower = lower_bound(self.graph, self.area, relaxation, output, functional)
        least = lowest(functional, offset, output.value, lower, ROUNDED)[0]
        if not self.has_alternatives:
            return least
        # The rounding of the combination itself, wherever the outputs are.
        weights, size = variables.weights.T, jnp.abs(output.value) + reach_of(relaxation.intervals[output])
        terms = jnp.einsum("rb,rb...,b...->b", weights, jnp.abs(self.rows), size)
        terms = terms + jnp.einsum("rb,rb->b", weights, jnp.abs(self.offsets))
        return least - 2 * gamma(len(self.rows) + output.value[0].size + 4, size.dtype) * lax.stop_gradient(terms)

    def projected(self, variables: AscentVariables, problems: Subproblems) -> AscentVariables:
        """The variables moved to where they are allowed, see `Subproblems`."""
        least = jnp.where(problems.last < self.root.last[None], -jnp.inf, 0)
        most = jnp.where(jnp.asarray(problems.first) > 0, jnp.inf, 0)
        weights = jnp.where(self.of_clause, jnp.maximum(variables.weights, 0), 0)
        total, equal = weights.sum(1, keepdims=True), self.of_clause / jnp.maximum(self.of_clause.sum(1, keepdims=True), 1)
        return AscentVariables(
            jnp.clip(variables.shares, 0, 1),
            jnp.clip(variables.multipliers, least, most),
            jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), equal),
        )
