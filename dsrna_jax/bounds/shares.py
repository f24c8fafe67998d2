"""Shares of a sum: e / sum(e), e / (1 + sum(e)), z / (sum(|z|) + eps), a / (a + b), e * (1 / sum(e)) and the like.

A term of a sum of numbers >= 0, divided by at least that sum, lies in [0, 1]; and in [-1, 1] if the sum is of absolute values. A
mean with such weights, as of attention, lies in the range of the values.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.least import least
from dsrna_jax.bounds.relaxations.product import Product
from dsrna_jax.bounds.relaxations.share import Mean, Share
from dsrna_jax.bounds.relaxations.softmax import Probability
from dsrna_jax.bounds.sums import Sums, divided, moved_sums, origins, raised, sources, sums_in


def share(tracer, primitive, operands, product: Node) -> Node | None:
    """The node of a quotient, or of a product with an inverse, of terms and their total; None of others.

    Args:
      product: its node by the rule of its primitive.
    """
    if not isinstance(product.operation, Product):
        return None
    for top, bottom, sums, outer, entry in divided(tracer, primitive, operands, by=_totals, by_inverse=_totals_of_inverse):
        if _is_term(tracer, entry, sums, product.value.shape):
            operation = Share(outer / sums.factor, sums.count, is_signed=least(tracer, entry) < 0)
            parents = (product.parents[top], product.parents[bottom], product)
            return tracer.node(operation, parents, product.value, product.batch_axis, "share")
    return None


def mean(tracer, primitive, operands, params, result: Node) -> Node | None:
    """The node of a sum of values that a softmax over the same axes weights, or of sum(w z) / sum(w); None of others.

    Args:
      result: its node by the rule of its primitive.
    """
    if primitive.name == "reduce_sum":
        for way in _weighted(tracer, primitive.name, operands, params):
            if _is_softmax(tracer, way.weights) and way.spans(way.weights.parents[0].operation.axes):
                return _mean(tracer, way, [], result)
    if primitive.name != "div" or not isinstance(result.operation, Product):
        return None
    for made in tracer.made.get(operands[0], ()):
        for way in _weighted(tracer, made.name, made.operands, made.params):
            if least(tracer, way.weights) >= 0 and _is_by_total(tracer, operands[1], way):
                return _mean(tracer, way, [result.parents[1]], result)
    return None


class _Weighted(NamedTuple):
    """A sum over `axes` of products z w, of operands of one rank.

    weights: a node that w repeats; its axis i lies along axis places[i] of the products.
    """

    product: Node
    axes: tuple[int, ...]
    z: Node
    w: Node
    weights: Node
    places: tuple

    def spans(self, own) -> bool:
        """Whether axes of the weights are those that are summed over."""
        return {self.places[axis] for axis in own} == set(self.axes)


def _weighted(tracer, name, operands, params) -> Iterator[_Weighted]:
    """The ways in which an operation is a sum of products of two nodes."""
    for made in tracer.made.get(operands[0], ()) if name == "reduce_sum" else ():
        if made.name == "mul" and all(isinstance(o, Node) and o.value.ndim == operands[0].value.ndim for o in made.operands):
            for w, z in (made.operands, made.operands[::-1]):
                for weights, places in sources(tracer, w):
                    yield _Weighted(operands[0], tuple(params["axes"]), z, w, weights, places)


def _is_by_total(tracer, bottom, way) -> bool:
    """Whether a divisor is the sum of the weights that belong to the values which it divides."""
    kept = [axis for axis in range(way.product.value.ndim) if axis not in way.axes]
    for total, beside in sources(tracer, bottom):
        for made in tracer.made.get(total, ()):
            if made.name == "reduce_sum" and made.operands[0] is way.weights and way.spans(made.params["axes"]):
                own = [axis for axis in range(way.weights.value.ndim) if axis not in made.params["axes"]]
                if all(
                    way.weights.value.shape[axis] == 1 or (place is not None and kept[place] == way.places[axis])
                    for axis, place in zip(own, beside, strict=True)
                ):
                    return True
    return False


def _is_softmax(tracer, node) -> bool:
    """Whether a node is a softmax that is normalised by a division, so that it adds up to 1 as it is evaluated."""
    return isinstance(node.operation, Probability) and any(made.name == "div" for made in tracer.made.get(node, ()))


def _mean(tracer, way, inverse, result):
    operation = Mean(way.axes, math.prod(way.product.value.shape[axis] for axis in way.axes))
    return tracer.node(operation, (way.z, way.w, *inverse, result), result.value, result.batch_axis, "mean")


def _is_term(tracer, entry, sums, shape) -> bool:
    """Whether each entry of a node is a term of the sum that it meets, or a term is its absolute value; and all are >= 0."""
    if entry.value.shape != shape or np.broadcast_shapes(sums.places.shape, shape) != shape or least(tracer, sums.terms) < 0:
        return False
    met = np.broadcast_to(sums.places, shape)
    terms = [sums.terms, *(m.operands[0] for m in tracer.made.get(sums.terms, ()) if m.name == "abs")]
    return any(
        source is entry and np.array_equal(groups, met)
        for of_terms in terms
        for source, groups in origins(tracer, of_terms, sums.groups)
    )


def _totals(tracer, node) -> Iterator[Sums]:
    """`Sums` S with node >= factor * S, if the terms are at least 0: of its own sums, and of what only adds to them."""
    alone = np.arange(node.value.size).reshape(node.value.shape)
    yield Sums(node, alone, alone, 1.0)
    yield from sums_in(tracer, node)
    for made in tracer.made.get(node, ()):
        parts = [o for o in made.operands if isinstance(o, Node)]
        if made.name in ("add", "add_any") and len(parts) == 2 and all(least(tracer, part) >= 0 for part in parts):
            for part in parts:
                yield from (s._replace(places=np.broadcast_to(s.places, node.value.shape)) for s in _totals(tracer, part))
        yield from raised(tracer, made, node, _totals, 1)


def _totals_of_inverse(tracer, node) -> Iterator[Sums]:
    """`Sums` S with 1 / node >= factor * S."""
    for made in tracer.made.get(node, ()):
        top = 1.0 if made.name == "integer_pow" and made.params["y"] == -1 else None
        if made.name == "div" and not isinstance(made.operands[0], Node | Predicate):
            top = number(made.operands[0])
        bottom = made.operands[-1]
        if top is not None and top > 0 and isinstance(bottom, Node):
            yield from (s._replace(factor=s.factor / float(top)) for s in _totals(tracer, bottom))
        yield from moved_sums(tracer, made, node, _totals_of_inverse)
