"""Products and quotients: linear with one bounded operand, relaxed with two."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.relaxations.product import Product
from dsrna_jax.bounds.rounding import smallest_normal
from dsrna_jax.bounds.rules.building import broadcast_nodes, evaluated_shape, linear, nodes_of, values
from dsrna_jax.bounds.rules.comparisons import select
from dsrna_jax.bounds.rules.curves import RECIPROCAL, curve
from dsrna_jax.bounds.rules.windowed.products import contracted
from dsrna_jax.inputs import is_known


def scaled(singleton=False, **kinds):
    """The rule of bilinear primitives; kinds are fields of `graph.Linear`."""

    def rule(tracer, primitive, operands, params, axes):
        if len(nodes_of(operands)) > 1:
            return _both_bounded(tracer, primitive, operands, params, axes)
        absolute = lambda q: [o if isinstance(o, Node) else jnp.abs(o) ** q for o in operands]  # noqa: E731
        shape = tuple(evaluated_shape(primitive, operands, params))
        alone = singleton and nodes_of(operands)[0].value.shape == shape
        sums = {"terms": 1, "shares": max(1, math.prod(shape) // nodes_of(operands)[0].value.size)} | kinds
        return linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone, **sums)

    return rule


def product_of_matrices(tracer, primitive, operands, params, axes):
    """The rule of dot_general."""
    kinds = {}
    if len(nodes_of(operands)) == 1:
        # Transposed as an einsum, which writes the axes in order; JAX's own transposition copies the array once more.
        is_left, (left, right) = isinstance(operands[0], Node), values(operands)
        bounded, constant, result = _dot_labels(np.ndim(left), np.ndim(right), params["dimension_numbers"], is_left)
        matrix = operands[1] if is_left else operands[0]
        sizes = dict(zip(constant, jnp.shape(matrix), strict=True))
        kinds["terms"] = math.prod(size for label, size in sizes.items() if label not in result)
        kinds["shares"] = math.prod(size for label, size in sizes.items() if label not in bounded)
        kinds["transposed"] = lambda rows: (jnp.einsum(matrix, constant, rows, result, bounded),)
        kinds["windowed"] = contracted(matrix, constant, bounded, result)
    return scaled(**kinds)(tracer, primitive, operands, params, axes)


def _dot_labels(left_rank, right_rank, dimension_numbers, is_left):
    """Einsum labels of the axes of the bounded operand, of the constant one, and of the result of a dot_general."""
    (left_sum, right_sum), (left_batch, right_batch) = dimension_numbers
    left, right = list(range(left_rank)), [left_rank + i for i in range(right_rank)]
    for i, j in itertools.chain(zip(left_sum, right_sum, strict=True), zip(left_batch, right_batch, strict=True)):
        right[j] = left[i]
    shared, summed = [left[i] for i in left_batch], [left[i] for i in left_sum]
    result = shared + [n for n in left + right if n not in shared + summed]
    return (left, right, result) if is_left else (right, left, result)


def _both_bounded(tracer, primitive, operands, params, axes):
    if primitive.name == "mul":
        for gate, other in (operands, operands[::-1]):
            gated = _gated(tracer, gate, other, axes)
            if gated is not None:
                return gated
        return _product(tracer, primitive, operands, params, axes)
    if primitive.name == "dot_general":
        return tracer.inline(functools.partial(_dot_by_products, **params), *operands)
    raise NotImplementedError(f"no bounds of {primitive.name} with two bounded operands{tracer.where}")


def _dot_by_products(a, b, *, dimension_numbers, **_):
    """dot_general as a sum of elementwise products."""
    (left, right), (left_batch, right_batch) = dimension_numbers
    names = itertools.count()
    a_names, b_names = [None] * a.ndim, [None] * b.ndim
    for i, j in itertools.chain(zip(left_batch, right_batch, strict=True), zip(left, right, strict=True)):
        a_names[i] = b_names[j] = next(names)
    a_names = [next(names) if n is None else n for n in a_names]
    b_names = [next(names) if n is None else n for n in b_names]
    shared, summed = [a_names[i] for i in left_batch], [a_names[i] for i in left]
    free = [n for n in a_names + b_names if n not in shared and n not in summed]
    order = shared + free + summed

    def placed(x, own):
        x = jnp.transpose(x, [own.index(n) for n in order if n in own])
        return x.reshape([x.shape[[m for m in order if m in own].index(n)] if n in own else 1 for n in order])

    product = placed(a, a_names) * placed(b, b_names)
    return product.sum(tuple(range(len(shared) + len(free), len(order))))


def _gated(tracer, gate, other, axes):
    """A choice in place of a product with a comparison that was converted to 0 and 1, as in x * (x > 0); None for others."""
    predicates = [m.operands[0] for m in tracer.made.get(gate, ()) if m.name == "convert_element_type"]
    if not predicates or not isinstance(predicates[0], Predicate) or gate.value.shape != other.value.shape:
        return None
    zero = np.broadcast_to(np.zeros((), other.value.dtype), other.value.shape)
    return select(tracer, lax.select_n_p, [predicates[0], zero, other], {}, axes)


def _product(tracer, primitive, operands, params, axes):
    a, b = broadcast_nodes(tracer, operands, axes)
    return [tracer.node(Product(), (a, b), a.value * b.value, axes[0], "product")]


def quotient(tracer, primitive, operands, params, axes):
    """The rule of div: a product with the reciprocal if the divisor is bounded."""
    if isinstance(operands[1], Node):
        (inverse,) = curve(RECIPROCAL, "reciprocal")(tracer, None, [operands[1]], {}, axes)
        return tracer.inline(lambda a, b: a * b, operands[0], inverse)
    operands = [operands[0], _with_inverse(operands[1])]
    absolute = lambda q: [operands[0], jnp.abs(operands[1]) ** q]  # noqa: E731
    alone = operands[0].value.shape == tuple(evaluated_shape(primitive, operands, params))
    return linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone, terms=1)


def _with_inverse(divisor):
    """A constant divisor, unknown where it is so large that its inverse, by which XLA may multiply, is flushed to 0."""
    arrays = np if is_known(divisor) else jnp
    is_large = (arrays.abs(divisor) > 1 / smallest_normal(divisor.dtype)) & arrays.isfinite(divisor)
    return divisor if is_known(divisor) and not is_large.any() else jnp.where(is_large, jnp.nan, divisor)


RULES = {"mul": scaled(singleton=True), "div": quotient, "dot_general": product_of_matrices}
