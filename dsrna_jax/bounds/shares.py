"""Shares of a sum: e / sum(e), e / (1 + sum(e)), z / (sum(|z|) + eps), a / (a + b), e * (1 / sum(e)) and the like.

A term of a sum of numbers >= 0, divided by at least that sum, lies in [0, 1]; and in [-1, 1] if the sum is of absolute values.
"""

from collections.abc import Iterator

import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.least import least
from dsrna_jax.bounds.relaxations.product import Product
from dsrna_jax.bounds.relaxations.share import Share
from dsrna_jax.bounds.sums import Sums, moved_sums, origins, raised, scaled, sums_in


def share(tracer, primitive, operands, product: Node) -> Node | None:
    """The node of a quotient, or of a product with an inverse, of terms and their total; None of others.

    Args:
      product: its node by the rule of its primitive.
    """
    if not isinstance(product.operation, Product):
        return None
    orders = [(0, 1)] if primitive.name == "div" else [(0, 1), (1, 0)]
    for top, bottom in orders:
        totals = _totals if primitive.name == "div" else _totals_of_inverse
        for sums in totals(tracer, operands[bottom]):
            for outer, entry in scaled(tracer, operands[top]):
                if _is_term(tracer, entry, sums, product.value.shape):
                    operation = Share(outer / sums.factor, sums.count, is_signed=least(tracer, entry) < 0)
                    parents = (product.parents[top], product.parents[bottom], product)
                    return tracer.node(operation, parents, product.value, product.batch_axis, "share")
    return None


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
