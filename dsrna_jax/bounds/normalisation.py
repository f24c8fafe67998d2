"""Normalisations, recognised by how they are made: LayerNorm, GroupNorm, InstanceNorm, RMSNorm, standardisation, x / ||x||.

A product d_i * r of a value and of r <= s / sqrt(sum_j d_j^2), where d_i is a term of the sum, lies in [-s, s]; if the n terms
are deviations from their own mean, in s sqrt((n - 1) / n) [-1, 1]. Whether an entry is a term of the sum that it meets is decided
by numbering the sums, and following the numbers through the operations that move entries.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.normalised import Normalised
from dsrna_jax.bounds.relaxations.product import Product


class Sums(NamedTuple):
    """factor * (sums of entries, or of their squares), as they lie in a node.

    terms: the node whose entries are summed.
    groups: [*shape of terms], the number of the sum that each entry is a term of; all sums have equally many terms.
    places: [*shape of the node], the number of the sum that each entry of the node holds.
    factor: a number, or an array that broadcasts against the node.
    is_difference: whether the sum of squares of deviations from the mean is computed as a difference of two means.
    """

    terms: Node
    groups: np.ndarray
    places: np.ndarray
    factor: Any
    is_difference: bool = False

    @property
    def count(self) -> int:
        """The number of terms of a sum."""
        return self.groups.size // (int(self.groups.max()) + 1)


def normalised(tracer, primitive, operands, product: Node) -> Node | None:
    """The node of a product or quotient that normalises its first or second operand; None of others.

    Args:
      product: its node by the rule of its primitive.
    """
    if not isinstance(product.operation, Product):
        return None
    orders = [(0, 1)] if primitive.name == "div" else [(0, 1), (1, 0)]
    for top, bottom in orders:
        inverses = _roots(tracer, operands[bottom]) if primitive.name == "div" else _inverses(tracer, operands[bottom])
        for sums in inverses:
            for outer, entry in _scaled(tracer, operands[top]):
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
        source is entry and np.array_equal(groups, met) for source, groups in _origins(tracer, sums.terms, sums.groups)
    )
    if sums.is_difference:
        of_terms = [sums.terms]
    else:
        of_terms = [x for x, groups in _centred(tracer, sums.terms) if np.array_equal(groups, sums.groups)]
    sources = [source for x in of_terms for source, _ in _origins(tracer, x, sums.groups)]
    means = [x for x, groups in _centred(tracer, entry) if np.array_equal(groups, met) and any(x is s for s in sources)]
    return is_term, next(iter(means), None)


def _scaled(tracer, node) -> Iterator[tuple[Any, Node]]:
    """(c, source) with node = c * source, for constants c of the node's shape: itself first."""
    yield 1.0, node
    for made in tracer.made.get(node, ()):
        nodes = [o for o in made.operands if isinstance(o, Node)]
        constants = [o for o in made.operands if not isinstance(o, Node | Predicate)]
        if len(nodes) != 1 or nodes[0].value.shape != node.value.shape:
            continue
        if made.name == "neg" or (made.name in ("add", "sub") and _is_number(constants[0], 0) and made.operands[0] is nodes[0]):
            yield from _scaled(tracer, nodes[0])
        elif made.name == "mul" or (made.name == "div" and made.operands[0] is nodes[0]):
            factor = 1 / constants[0] if made.name == "div" else constants[0]
            yield from ((factor * c, source) for c, source in _scaled(tracer, nodes[0]))


def _inverses(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with |node| <= factor / sqrt(S)."""
    for made in tracer.made.get(node, ()):
        first, constants = made.operands[0], [o for o in made.operands if not isinstance(o, Node | Predicate)]
        found: Any = ()
        if made.name == "rsqrt" or (made.name == "pow" and _is_number(constants[0], -0.5)):
            found = ((s, 1 / np.sqrt(s.factor)) for s in _squares(tracer, first))
        elif made.name == "div" and constants and constants[0] is first and number(first) is not None:
            found = ((s, abs(number(first)) / np.sqrt(s.factor)) for s in _roots(tracer, made.operands[1]))
        elif made.name == "integer_pow" and made.params["y"] == -1:
            found = ((s, 1 / np.sqrt(s.factor)) for s in _roots(tracer, first))
        elif len(constants) == 1 and (made.name == "mul" or (made.name == "div" and constants[0] is not first)):
            (operand,) = (o for o in made.operands if isinstance(o, Node))
            factor = constants[0] if number(constants[0]) is None else number(constants[0])
            factor = abs(1 / factor if made.name == "div" else factor)
            found = (
                (s._replace(places=np.broadcast_to(s.places, node.value.shape)), s.factor * factor)
                for s in _inverses(tracer, operand)
            )
        yield from (s._replace(factor=factor) for s, factor in found)
        yield from _moved_sums(tracer, made, node, _inverses)


def _roots(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with node >= sqrt(factor * S)."""
    for made in tracer.made.get(node, ()):
        if made.name == "sqrt" or (made.name == "pow" and _is_number(made.operands[1], 0.5)):
            yield from _squares(tracer, made.operands[0])
        yield from _raised(tracer, made, node, _roots, 2)


def _squares(tracer, node) -> Iterator[Sums]:
    """`Sums` of squares S with node >= factor * S."""
    for sums in _sums(tracer, node):
        for terms in _squared(tracer, sums.terms):
            yield sums._replace(terms=terms)
    for made in tracer.made.get(node, ()):
        if made.name == "sub" and all(isinstance(o, Node) for o in made.operands):
            yield from _variance(tracer, *made.operands)
        yield from _raised(tracer, made, node, _squares, 1)


def _variance(tracer, of_squares, of_mean) -> Iterator[Sums]:
    """`Sums` of squared deviations from the mean, as the mean of the squares less the square of the mean."""
    for squares in _means(tracer, of_squares):
        for x in _squared(tracer, squares.terms):
            for mean in _squared(tracer, of_mean):
                for sums in _means(tracer, mean):
                    alike = [(squares.groups, sums.groups), (squares.places, sums.places)]
                    if sums.terms is x and all(a.shape == b.shape and np.array_equal(a, b) for a, b in alike):
                        yield sums._replace(is_difference=True)


def _raised(tracer, made, node, search: Callable, power: int) -> Iterator[Sums]:
    """`Sums` below an operation that keeps or raises them: a constant added, a maximum, a factor, a move."""
    nodes = [o for o in made.operands if isinstance(o, Node)]
    constants = [o for o in made.operands if not isinstance(o, Node | Predicate)]
    if len(nodes) == 1 and len(constants) == 1 and nodes[0].value.shape == node.value.shape:
        value, is_first = number(constants[0]), made.operands[0] is nodes[0]
        if made.name == "max" or (made.name == "add" and value is not None and value >= 0):
            yield from search(tracer, nodes[0])
        elif made.name in ("mul", "div") and value is not None and value > 0 and (made.name == "mul" or is_first):
            factor = (value if made.name == "mul" else 1 / value) ** power
            yield from (s._replace(factor=s.factor * factor) for s in search(tracer, nodes[0]))
    yield from _moved_sums(tracer, made, node, search)


def _moved_sums(tracer, made, node, search: Callable) -> Iterator[Sums]:
    for source, move in _moves(made, node):
        for s in search(tracer, source):
            if np.ndim(s.factor) == 0:
                yield s._replace(places=move(s.places))


def _sums(tracer, node) -> Iterator[Sums]:
    """`Sums` that a node holds, with a number for a factor."""
    for made in tracer.made.get(node, ()):
        source, numbers = made.operands[0], [number(o) for o in made.operands if not isinstance(o, Node | Predicate)]
        if made.name == "reduce_sum" and isinstance(source, Node):
            places = np.arange(node.value.size).reshape(node.value.shape)
            groups = np.broadcast_to(np.expand_dims(places, made.params["axes"]), source.value.shape)
            yield Sums(source, groups, places, 1.0)
        if made.name in ("mul", "div") and len(numbers) == 1 and numbers[0] is not None and numbers[0] > 0:
            operand = next((o for o in made.operands if isinstance(o, Node)), None)
            if operand is not None and operand.value.shape == node.value.shape and (made.name == "mul" or operand is source):
                factor = numbers[0] if made.name == "mul" else 1 / numbers[0]
                yield from (s._replace(factor=s.factor * float(factor)) for s in _sums(tracer, operand))
        yield from _moved_sums(tracer, made, node, _sums)


def _means(tracer, node) -> Iterator[Sums]:
    """`Sums` that are means of their terms, up to the rounding of 1 / count."""
    unit = float(jnp.finfo(node.value.dtype).eps)
    return (s for s in _sums(tracer, node) if abs(s.factor * s.count - 1) <= unit)


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
            for source, groups in _origins(tracer, sums.terms, sums.groups):
                if source is x and np.array_equal(groups, places):
                    yield x, groups


def _origins(tracer, node, groups) -> Iterator[tuple[Node, np.ndarray]]:
    """(source, groups) of the nodes whose entries a node holds, all of them and once, with their numbers: itself first."""
    yield node, groups
    for made in tracer.made.get(node, ()):
        for source, move in _moves(made, node):
            if source.value.size == node.value.size:
                own = np.empty(groups.size, groups.dtype)
                own[move(np.arange(groups.size).reshape(source.value.shape)).ravel()] = groups.ravel()
                yield from _origins(tracer, source, own.reshape(source.value.shape))
        if made.name in ("add", "sub") and made.operands[0] is not node and isinstance(made.operands[0], Node):
            if len(made.operands) == 2 and _is_number(made.operands[1], 0) and made.operands[0].value.shape == node.value.shape:
                yield from _origins(tracer, made.operands[0], groups)


def _squared(tracer, node) -> Iterator[Node]:
    """The nodes whose squares a node holds."""
    for made in tracer.made.get(node, ()):
        x = made.operands[0]
        is_square = made.name == "square" or (made.name == "integer_pow" and made.params["y"] == 2)
        if isinstance(x, Node) and (is_square or (made.name == "mul" and x is made.operands[1])):
            yield x
            yield from (way.operands[0] for way in tracer.made.get(x, ()) if way.name == "abs")


def _moves(made, node) -> Iterator[tuple[Node, Callable]]:
    """(source, move) if an operation moves or repeats the entries of its operand; `move` does so with NumPy arrays."""
    source, shape = made.operands[0], node.value.shape
    if made.name == "select_n" and not isinstance(source, Node | Predicate) and number(source) is not None:
        source = made.operands[1 + int(number(source))]
        if isinstance(source, Node) and source.value.shape == shape:
            yield source, lambda a: a
    elif not isinstance(source, Node):
        return
    elif made.name in ("squeeze", "expand_dims") or (made.name == "reshape" and made.params["dimensions"] is None):
        yield source, lambda a: a.reshape(shape)
    elif made.name == "transpose":
        yield source, lambda a: a.transpose(made.params["permutation"])
    elif made.name == "broadcast_in_dim":
        axes = made.params["broadcast_dimensions"]
        ranked = [source.value.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]
        yield source, lambda a: np.broadcast_to(a.reshape(ranked), shape)


def _is_number(constant, value) -> bool:
    known = None if isinstance(constant, Node | Predicate) else number(constant)
    return known is not None and bool(known == value)
