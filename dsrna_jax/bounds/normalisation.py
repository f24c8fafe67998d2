"""Normalisations, recognised by how they are made: LayerNorm, GroupNorm, InstanceNorm, RMSNorm, standardisation, x / ||x||.

A product d_i * r of a value and of r <= s / sqrt(sum_j d_j^2), where d_i is a term of the sum, lies in [-s, s]; if the n terms
are deviations from their own mean, in s sqrt((n - 1) / n) [-1, 1]. Whether an entry is a term of the sum that it meets is decided
by numbering the sums (`sums`).
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.normalised import Normalised
from dsrna_jax.bounds.relaxations.product import Product
from dsrna_jax.bounds.sums import Sums, divided, is_number, moved_sums, origins, raised, sums_in


def normalised(tracer, primitive, operands, product: Node) -> Node | None:
    """The node of a product or quotient that normalises its first or second operand; None of others.

    Args:
      product: its node by the rule of its primitive.
    """
    if not isinstance(product.operation, Product):
        return None
    for _, bottom, sums, outer, entry in divided(tracer, primitive, operands, by=_roots, by_inverse=_inverses):
        is_term, x = _kinship(tracer, entry, sums, product.value.shape)
        if is_term or x is not None:
            scale = sums.factor if primitive.name == "mul" else 1 / np.sqrt(sums.factor)
            operation = Normalised(jnp.abs(scale), jnp.abs(outer), sums.count, is_term, x is not None, sums.is_difference)
            parents = (x or sums.terms, product.parents[bottom], product)
            return tracer.node(operation, parents, product.value, product.batch_axis, "normalise")
    return None


def _kinship(tracer, entry, sums, shape) -> tuple[bool, Node | None]:
    """Whether each entry of a node is a term of the sum that it meets; and x, if it and the terms are x less the sum's mean."""
    if entry.value.shape != shape or len(np.broadcast_shapes(sums.places.shape, shape)) != len(shape):
        return False, None
    met = np.broadcast_to(sums.places, shape)
    is_term = not sums.is_difference and any(
        source is entry and np.array_equal(groups, met) for source, groups in origins(tracer, sums.terms, sums.groups)
    )
    if sums.is_difference:
        of_terms = [sums.terms]
    else:
        of_terms = [x for x, groups in _centred(tracer, sums.terms) if np.array_equal(groups, sums.groups)]
    sources = [source for x in of_terms for source, _ in origins(tracer, x, sums.groups)]
    means = [x for x, groups in _centred(tracer, entry) if np.array_equal(groups, met) and any(x is s for s in sources)]
    return is_term, next(iter(means), None)


def _inverses(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with |node| <= factor / sqrt(S)."""
    for made in tracer.made.get(node, ()):
        first, constants = made.operands[0], [o for o in made.operands if not isinstance(o, Node | Predicate)]
        pairs: Any = ()
        if made.name == "rsqrt" or (made.name == "pow" and is_number(constants[0], -0.5)):
            pairs = ((s, 1 / np.sqrt(s.factor)) for s in _squares(tracer, first))
        elif made.name == "div" and constants and constants[0] is first and number(first) is not None:
            pairs = ((s, abs(number(first)) / np.sqrt(s.factor)) for s in _roots(tracer, made.operands[1]))
        elif made.name == "integer_pow" and made.params["y"] == -1:
            pairs = ((s, 1 / np.sqrt(s.factor)) for s in _roots(tracer, first))
        elif len(constants) == 1 and (made.name == "mul" or (made.name == "div" and constants[0] is not first)):
            (operand,) = (o for o in made.operands if isinstance(o, Node))
            factor = constants[0] if number(constants[0]) is None else number(constants[0])
            factor = abs(1 / factor if made.name == "div" else factor)
            pairs = (
                (s._replace(places=np.broadcast_to(s.places, node.value.shape)), s.factor * factor)
                for s in _inverses(tracer, operand)
            )
        yield from (s._replace(factor=factor) for s, factor in pairs)
        yield from moved_sums(tracer, made, node, _inverses)


def _roots(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with node >= sqrt(factor * S)."""
    for made in tracer.made.get(node, ()):
        if made.name == "sqrt" or (made.name == "pow" and is_number(made.operands[1], 0.5)):
            yield from _squares(tracer, made.operands[0])
        yield from raised(tracer, made, node, _roots, 2)


def _squares(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with node >= factor * S."""
    for sums in sums_in(tracer, node):
        for terms in _squared(tracer, sums.terms):
            yield sums._replace(terms=terms)
    for made in tracer.made.get(node, ()):
        if made.name == "sub" and all(isinstance(o, Node) for o in made.operands):
            yield from _variance(tracer, *made.operands)
        yield from raised(tracer, made, node, _squares, 1)


def _variance(tracer, of_squares, of_mean) -> Iterator[Sums]:
    """`Sums` of squared deviations from the mean, as the mean of the squares less the square of the mean."""
    for squares in _means(tracer, of_squares):
        for x in _squared(tracer, squares.terms):
            for mean in _squared(tracer, of_mean):
                for sums in _means(tracer, mean):
                    alike = [(squares.groups, sums.groups), (squares.places, sums.places)]
                    if sums.terms is x and all(a.shape == b.shape and np.array_equal(a, b) for a, b in alike):
                        yield sums._replace(is_difference=True)


def _means(tracer, node) -> Iterator[Sums]:
    """`Sums` that are means of their terms, up to the rounding of 1 / count."""
    unit = float(jnp.finfo(node.value.dtype).eps)
    return (s for s in sums_in(tracer, node) if abs(s.factor * s.count - 1) <= unit)


def _centred(tracer, node) -> Iterator[tuple[Node, np.ndarray]]:
    """(x, groups) if a node is x less the means of groups of its entries."""
    for made in tracer.made.get(node, ()):
        if made.name != "sub" or not all(isinstance(o, Node) for o in made.operands):
            continue
        x, mean = made.operands
        if x.value.shape != node.value.shape:
            continue
        for sums in _means(tracer, mean):
            places = np.broadcast_to(sums.places, node.value.shape)
            for source, groups in origins(tracer, sums.terms, sums.groups):
                if source is x and np.array_equal(groups, places):
                    yield x, groups


def _squared(tracer, node) -> Iterator[Node]:
    """The nodes whose squares a node holds."""
    for made in tracer.made.get(node, ()):
        x = made.operands[0]
        is_square = made.name == "square" or (made.name == "integer_pow" and made.params["y"] == 2)
        if isinstance(x, Node) and (is_square or (made.name == "mul" and x is made.operands[1])):
            yield x
            yield from (way.operands[0] for way in tracer.made.get(x, ()) if way.name == "abs")
