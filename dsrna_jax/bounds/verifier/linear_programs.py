"""Sub-problems without an open hinge: f is affine there, and a linear program decides them.

Its solution is a candidate for a counterexample. Its dual values are multipliers for `beta_crown`, whose bound with them is the
certificate: nothing rests on the solver's tolerances.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8
from scipy.optimize import linprog

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.relaxations.hinge import Hinge
from dsrna_jax.bounds.relaxations.maximum import Larger
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier.beta_crown import Ends, flat, shaped, with_neurons
from dsrna_jax.bounds.verifier.compiled import joined
from dsrna_jax.bounds.verifier.pairwise import splittable

PENALTY = 1e3  # of a violated restriction, in multiples of the size of the objective


class Piece(NamedTuple):
    """An affine piece of f around the middle of a box: values there, and derivatives by the entries of the input.

    rows: <row, y> + offset of every row.
    operands: of all hinges, less their kinks.
    """

    rows: Float[Array, " row"]
    operands: Float[Array, " hinge"]
    rows_by_input: Float[Array, "row input"]
    operands_by_input: Float[Array, "hinge input"]


def is_piecewise_linear(graph: Graph) -> bool:
    """Whether all operations are affine, hinges, or maxima of two, which are sums with a hinge."""
    return all(node.operation is None or isinstance(node.operation, Linear | Hinge | Larger) for node in graph.nodes)


@functools.partial(jax.jit, static_argnames=("static",))
def piece(arrays, static, specification: Specification, box: Box, ends: Ends, sides: Int8[Array, " hinge"]) -> Piece | None:
    """The affine piece of f on which the hinges have the given sides, and those without a side that of their interval.

    Returns: None unless f `is_piecewise_linear`.
    """
    graph = splittable(joined(static, arrays), box.middle)
    if not is_piecewise_linear(graph):
        return None
    hinges = with_neurons(graph)
    chosen = dict(zip(hinges, shaped(sides[None], hinges), strict=True))
    rows, offsets = specification.functionals(graph.output.value)
    axes = tuple(range(2, rows.ndim))

    def evaluated(d):
        moved: dict[Node, jax.Array] = {graph.inputs[0]: d}
        operands = []
        for node in graph.nodes:
            if node.operation is None:
                continue
            parents = [moved[parent] for parent in node.parents]
            if isinstance(node.operation, Linear):
                moved[node] = _applied(node.operation, parents)
                continue
            if isinstance(node.operation, Larger):
                moved[node] = parents[1] + parents[2]
                continue
            operation, (parent,) = node.operation, node.parents
            t = parent.value - operation.at
            lower = ends[parent.index][0].lower
            is_right = jnp.where(chosen[node] == 0, t + lower >= 0, chosen[node] > 0)
            start = jnp.where(t >= 0, operation.right, operation.left) * t
            moved[node] = jnp.where(is_right, operation.right, operation.left) * (t + parents[0]) - start
            operands.append(flat(t + parents[0], node))
        y = graph.output.value + moved[graph.output]
        return (rows * y[None]).sum(axes)[:, 0] + offsets[:, 0], jnp.concatenate(operands, 1)[0]

    zero = jnp.zeros_like(box.lower)
    values = evaluated(zero)
    slopes = jax.jacrev(evaluated)(zero)
    return Piece(*values, *(slope.reshape(len(slope), -1) for slope in slopes))


def _applied(operation: Linear, parents):
    if operation.one_of is not None:
        place, whole = operation.one_of
        return whole.deviation(*parents)[place]
    return operation.deviation(*parents)


def solved(affine: Piece, box: Box, sides: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The input where the combined rows are least on a piece, and multipliers [hinge] that prove it; None if the solver fails.

    Restrictions may be violated at a price, so that multipliers exist where no input meets all of them.
    """
    split = np.flatnonzero(sides)
    sign = sides[split].astype(float)
    objective = weights.astype(float) @ np.asarray(affine.rows_by_input, float)
    matrix, start = (
        sign[:, None] * np.asarray(affine.operands_by_input, float)[split],
        sign * np.asarray(affine.operands, float)[split],
    )
    low, high = ((np.asarray(side, float) - np.asarray(box.middle, float)).ravel() for side in (box.lower, box.upper))
    price = PENALTY * max(np.abs(objective).sum(), 1e-6)
    programme = linprog(
        np.concatenate([objective, np.full(len(split), price)]),
        np.hstack([-matrix, -np.eye(len(split))]),
        start,
        bounds=[*zip(low, high, strict=True), *[(0, None)] * len(split)],
    )
    if programme.status != 0:
        return None
    multipliers = np.zeros(len(sides), np.float32)
    multipliers[split] = sign * np.maximum(-programme.ineqlin.marginals, 0)
    point = np.asarray(box.middle, float).ravel() + programme.x[: len(low)]
    return point.reshape(np.shape(box.lower)[1:]), multipliers
