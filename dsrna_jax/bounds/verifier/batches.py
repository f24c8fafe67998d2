"""Lower bounds of a batch of sub-problems, as functions of slopes, multipliers and weights."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int8

from dsrna_jax.bounds.backward import lower_bound
from dsrna_jax.bounds.balls import Ball, Box, boxed
from dsrna_jax.bounds.checks import check_memory
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.rounding import EVALUATION, gamma, reach_of
from dsrna_jax.bounds.specification import ROUNDED, Specification, lowest
from dsrna_jax.bounds.verifier.beta_crown import Ends, OfSubproblems, Split, flat, hinges_of, shaped
from dsrna_jax.bounds.verifier.pairwise import splittable
from dsrna_jax.bounds.verifier.subproblems import Numbers, Subproblems, members_of

Sides = Int8[Numbers, "batch hinge"]


class AscentVariables(NamedTuple):
    """The fields of `Subproblems` by which bounds are optimised."""

    shares: Float[Numbers, "batch hinge"]
    multipliers: Float[Numbers, "batch hinge"]
    weights: Float[Numbers, "batch row"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of sub-problems, each of a combination of rows of the specification, or of the operand of a hinge.

    graph, area: of as many examples as there are sub-problems.
    ends: intervals of the whole problem.
    rows, offsets: of the specification.
    of_clause: whether a row belongs to the clause of a sub-problem, which has none if it has a target.
    targets: of each operand, 1 or -1 if it is the target, 0 otherwise; `at_middle` are the values of the targets there.
    has_alternatives: whether any clause has more than one row.
    """

    graph: Graph
    area: Ball
    ends: Ends
    rows: Float[Array, "row batch *output"]
    offsets: Float[Array, "row batch"]
    of_clause: Bool[Array, "batch row"]
    targets: Float[Array, "batch hinge"]
    at_middle: Float[Array, " batch"]
    has_alternatives: bool

    @classmethod
    def of(cls, f: Callable, specification: Specification, box: Box, ends: Ends, problems: Subproblems) -> "Batch":
        """The batch of these sub-problems of f; box: with as many examples."""
        graph = splittable(f, box.middle)
        check_memory(graph, Options(method="crown_ibp"))
        output, hinges = graph.output.value, hinges_of(graph)
        target = jnp.asarray(problems.target)
        signs = jnp.sign(target).astype(output.dtype)[:, None]
        targets = signs * jax.nn.one_hot(jnp.abs(target) - 1, problems.sides.shape[1], dtype=output.dtype)
        operands = jnp.concatenate([flat(node.parents[0].value - node.operation.at, node) for node in hinges], 1)
        return cls(
            graph,
            boxed([leaf.value for leaf in graph.inputs], box, None),
            ends,
            *specification.functionals(output),
            jnp.asarray(members_of(specification))[problems.clause] & (target == 0)[:, None],
            targets,
            (targets * operands).sum(1),
            max(map(len, specification.of_every_row)) > 1,
        )

    def by_hinge(self, entries: Numbers) -> dict[Node, Array]:
        """Entries [batch, hinge] in the shapes of the hinges."""
        hinges = hinges_of(self.graph)
        return dict(zip(hinges, shaped(entries, hinges), strict=True))

    def relaxed(self, variables: AscentVariables, sides: Sides) -> Split:
        """The relaxed hinges."""
        return Split(
            OfSubproblems(self.graph, EVALUATION, self.ends, self.by_hinge(sides)),
            self.by_hinge(variables.shares),
            sides=self.by_hinge(sides),
            multipliers=self.by_hinge(variables.multipliers),
            objectives=self.by_hinge(self.targets),
        )

    def functional(self, variables: AscentVariables) -> tuple[Float[Array, "1 batch *output"], Float[Array, "1 batch"]]:
        """The combinations of rows by their weights, and their offsets."""
        weights = variables.weights.T
        offsets = jnp.einsum("rb,rb->b", weights, self.offsets) + self.at_middle
        return jnp.einsum("rb,rb...->b...", weights, self.rows)[None], offsets[None]

    def bound(self, variables: AscentVariables, sides: Sides) -> Float[Array, " batch"]:
        """Lower bounds of the combined rows, or of the targets, where the hinges have these sides."""
        functional, offset = self.functional(variables)
        relaxation, output = self.relaxed(variables, sides), self.graph.output
        lower = lower_bound(self.graph, self.area, relaxation, output, functional)
        least = lowest(functional, offset, output.value, lower, ROUNDED)[0]
        if not self.has_alternatives:
            return least
        # The rounding of the combination itself, wherever the outputs are.
        weights, size = variables.weights.T, jnp.abs(output.value) + reach_of(relaxation.intervals[output])
        terms = jnp.einsum("rb,rb...,b...->b", weights, jnp.abs(self.rows), size)
        terms = terms + jnp.einsum("rb,rb->b", weights, jnp.abs(self.offsets))
        return least - 2 * gamma(len(self.rows) + output.value[0].size + 4, size.dtype) * lax.stop_gradient(terms)

    def projected(self, variables: AscentVariables) -> AscentVariables:
        """The variables moved to where they are allowed, see `Subproblems`."""
        weights = jnp.where(self.of_clause, jnp.maximum(variables.weights, 0), 0)
        total, equal = weights.sum(1, keepdims=True), self.of_clause / jnp.maximum(self.of_clause.sum(1, keepdims=True), 1)
        return AscentVariables(
            jnp.clip(variables.shares, 0, 1),
            jnp.maximum(variables.multipliers, 0),
            jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), equal),
        )
