"""Windowed forms of products, quotients, choices and sums."""

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Windowed
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.rules.windowed.form import Step, broadcasting, derived, elementwise, shape_of, stepped


def factor(node: Node, constant, shape, divides=False) -> Windowed:
    """A product of a node with a constant, or its quotient by it, of a given shape."""

    def pull(functional):
        known = constant if np.ndim(constant) == 0 else number(constant)
        by = functional.read(constant, 1.0) if known is None else jnp.asarray(known, functional.rows.dtype)
        return functional.rows / by if divides else functional.rows * by

    return broadcasting([node], shape, pull)


def product(operands, **_):
    """The windowed form of mul; None unless one operand alone is bounded."""
    nodes, constants = ([o for o in operands if isinstance(o, Node) == is_node] for is_node in (True, False))
    return factor(nodes[0], constants[0], jnp.broadcast_shapes(*map(shape_of, operands))) if len(nodes) == 1 else None


def quotient(operands, **_):
    """The windowed form of div."""
    x, divisor = operands
    return factor(x, divisor, jnp.broadcast_shapes(*map(shape_of, operands)), divides=True)


def converted(operands, **_):
    """The windowed form of convert_element_type."""
    (x,) = operands
    return elementwise(lambda f: f.rows.astype(x.value.dtype))


def chosen(operands, **_):
    """The windowed form of select_n."""
    which, *cases = operands

    def of(i):
        def pull(functional):
            mask = functional.read(jnp.broadcast_to(which, functional.node.value.shape).astype(jnp.int32), -1)
            return jnp.where(mask == i, functional.rows, 0)

        return pull

    return elementwise(*(of(i) for i, case in enumerate(cases) if isinstance(case, Node)))


def summed(operands, *, axes, **_):
    """The windowed form of reduce_sum."""
    left = [i for i in range(operands[0].value.ndim) if i not in axes]
    steps = [Step(left.index(i)) if i in left else None for i in range(operands[0].value.ndim)]
    return stepped(steps, pull=derived(lambda _: lambda d: d.sum(axes)))


def contracted(matrix, constant, bounded, result) -> Windowed:
    """The windowed form of dot_general, by the einsum labels of the constant operand, of the bounded one, and of the result."""
    steps = [Step(result.index(label)) if label in result and label not in constant else None for label in bounded]

    def pull(functional):
        node = functional.node
        back = lambda rows: jnp.einsum(matrix, constant, rows, result, bounded)  # noqa: E731
        return [jax.vmap(back, node.batch_axis, node.parents[0].batch_axis)(functional.rows)]

    return stepped(steps, pull=pull)
