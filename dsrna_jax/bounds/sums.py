"""Sums of groups of entries, recognised by how they are made, and the operations that they are moved and raised by.

The sums of a node are numbered, and the numbers follow the operations that move entries: so each entry is known to be a term of
the sum that it meets, or not.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.known import number


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
        return self.groups.size // (int(np.max(self.groups)) + 1)


def divided(tracer, primitive, operands, *, by: Callable, by_inverse: Callable) -> Iterator[tuple[int, int, Sums, Any, Node]]:
    """(top, bottom, sums, c, entry): operand `top`, c * entry, is divided by what has the sums or multiplied by its inverse.

    Args:
      primitive: of a quotient, whose divisor is searched by `by`; or of a product, whose operands are in turn by `by_inverse`.
    """
    orders, search = ([(0, 1)], by) if primitive.name == "div" else ([(0, 1), (1, 0)], by_inverse)
    for top, bottom in orders:
        for sums in search(tracer, operands[bottom]):
            for outer, entry in scaled(tracer, operands[top]):
                yield top, bottom, sums, outer, entry


def scaled(tracer, node) -> Iterator[tuple[Any, Node]]:
    """(c, source) with node = c * source, for constants c of the node's shape: itself first."""
    yield 1.0, node
    for made in tracer.made.get(node, ()):
        nodes = [o for o in made.operands if isinstance(o, Node)]
        constants = [o for o in made.operands if not isinstance(o, Node | Predicate)]
        if len(nodes) != 1 or nodes[0].value.shape != node.value.shape:
            continue
        if made.name == "neg":
            yield from ((-c, source) for c, source in scaled(tracer, nodes[0]))
        elif made.name in ("add", "sub") and is_number(constants[0], 0) and made.operands[0] is nodes[0]:
            yield from scaled(tracer, nodes[0])
        elif made.name == "mul" or (made.name == "div" and made.operands[0] is nodes[0]):
            factor = 1 / constants[0] if made.name == "div" else constants[0]
            yield from ((factor * c, source) for c, source in scaled(tracer, nodes[0]))


def raised(tracer, made, node, search: Callable, power: int) -> Iterator[Sums]:
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
    yield from moved_sums(tracer, made, node, search)


def moved_sums(tracer, made, node, search: Callable) -> Iterator[Sums]:
    """`Sums` that a search finds before an operation that moves or repeats entries."""
    for source, move in _moves(made, node):
        for s in search(tracer, source):
            if np.ndim(s.factor) == 0:
                yield s._replace(places=move(s.places))


def sums_in(tracer, node) -> Iterator[Sums]:
    """`Sums` that a node holds, with a number for a factor."""
    for made in tracer.made.get(node, ()):
        source, numbers = made.operands[0], [number(o) for o in made.operands if not isinstance(o, Node | Predicate)]
        if made.name == "reduce_sum" and isinstance(source, Node):
            places = np.arange(node.value.size).reshape(node.value.shape)
            groups = np.broadcast_to(np.expand_dims(places, made.params["axes"]), source.value.shape)
            yield Sums(source, groups, places, 1.0)
        if made.name == "dot_general":
            yield from _sums_by_product(made, node)
        if made.name in ("mul", "div") and len(numbers) == 1 and numbers[0] is not None and numbers[0] > 0:
            operand = next((o for o in made.operands if isinstance(o, Node)), None)
            if operand is not None and operand.value.shape == node.value.shape and (made.name == "mul" or operand is source):
                factor = numbers[0] if made.name == "mul" else 1 / numbers[0]
                yield from (s._replace(factor=s.factor * float(factor)) for s in sums_in(tracer, operand))
        yield from moved_sums(tracer, made, node, sums_in)


def _sums_by_product(made, node) -> Iterator[Sums]:
    """`Sums` of a product with a matrix that repeats one number > 0."""
    (left, right), batched = made.params["dimension_numbers"]
    for source, matrix, summed, is_left in (
        (*made.operands, left, True),
        (*made.operands[::-1], right, False),
    ):
        factor = None if isinstance(matrix, Node | Predicate) else number(matrix)
        if isinstance(source, Node) and factor is not None and factor > 0 and not any(batched):
            kept = [n for axis, n in enumerate(source.value.shape) if axis not in summed]
            own, others = np.arange(math.prod(kept)).reshape(kept), (1,) * (node.value.ndim - len(kept))
            places = own.reshape((*kept, *others) if is_left else (*others, *kept))
            groups = np.broadcast_to(np.expand_dims(own, tuple(summed)), source.value.shape)
            yield Sums(source, groups, np.broadcast_to(places, node.value.shape), float(factor))


def origins(tracer, node, groups) -> Iterator[tuple[Node, np.ndarray]]:
    """(source, groups) of the nodes whose entries a node holds, all of them and once, with their numbers: itself first."""
    yield node, groups
    for made in tracer.made.get(node, ()):
        for source, move in _moves(made, node):
            if source.value.size == node.value.size:
                own = np.empty(groups.size, groups.dtype)
                own[move(np.arange(groups.size).reshape(source.value.shape)).ravel()] = groups.ravel()
                yield from origins(tracer, source, own.reshape(source.value.shape))
        if made.name in ("add", "sub") and made.operands[0] is not node and isinstance(made.operands[0], Node):
            if len(made.operands) == 2 and is_number(made.operands[1], 0) and made.operands[0].value.shape == node.value.shape:
                yield from origins(tracer, made.operands[0], groups)


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


def sources(tracer, node, places=None) -> list[tuple[Node, tuple]]:
    """(source, places) of the nodes that a node repeats, itself first.

    Axis i of the source lies along axis places[i] of the node; the place of an axis of size 1 may be None.
    """
    places = tuple(range(node.value.ndim)) if places is None else places
    pairs = [(node, places)]
    for made in tracer.made.get(node, ()):
        source = made.operands[0]
        if not isinstance(source, Node):
            continue
        if made.name == "broadcast_in_dim":
            pairs += sources(tracer, source, tuple(places[axis] for axis in made.params["broadcast_dimensions"]))
        if made.name == "transpose":
            order = made.params["permutation"]
            pairs += sources(tracer, source, tuple(places[order.index(axis)] for axis in range(len(order))))
        if made.name in ("reshape", "expand_dims"):
            long, longer = ([i for i, n in enumerate(v.value.shape) if n != 1] for v in (source, node))
            if [source.value.shape[i] for i in long] == [node.value.shape[i] for i in longer]:
                moved = dict(zip(long, longer, strict=True))
                pairs += sources(
                    tracer, source, tuple(places[moved[i]] if i in moved else None for i in range(source.value.ndim))
                )
    return pairs


def is_number(constant, value) -> bool:
    """Whether an operand is known to be a number, or to repeat it."""
    known = None if isinstance(constant, Node | Predicate) else number(constant)
    return known is not None and bool(known == value)
