"""The graph of a batch-separable JAX function at a point."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dsrna_jax.bounds.graph import Complex, Graph, Node, Predicate, Refused, Whole
from dsrna_jax.bounds.tracer import Tracer, is_narrow
from dsrna_jax.errors import InputError, NotSeparableError


def trace(f: Callable, x, rules: dict[str, Callable]) -> Graph:
    """The graph of f at x, a pytree of arrays [batch, ...], by the rules of its primitives.

    JAX may write f at one example with other operations than at more: jnp.matmul squeezes a batch of one, jnp.broadcast_to has
    nothing to do. If f treats two examples each by itself, the graph at one is that of f vectorised over batches of one.

    Raises: InputError unless f treats each example by itself; NotImplementedError for a primitive without a rule.
    """
    leaves, structure = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    check_input(leaves)

    def flat(*leaves):
        return jax.tree.leaves(f(jax.tree.unflatten(structure, leaves)))

    def each(*leaves):
        return jax.vmap(lambda *one: [output[0] for output in flat(*(leaf[None] for leaf in one))])(*leaves)

    try:
        return _traced(flat, leaves, rules)
    except NotSeparableError as error:
        if len(leaves[0]) > 1:
            alone = "jax.vmap(lambda example: f(example[None])[0])"
            raise NotSeparableError(f"{error}. If f treats an example alone as it does in a batch, bound {alone}") from None
        _traced(flat, [jnp.repeat(leaf, 2, axis=0) for leaf in leaves], rules)
        return _traced(each, leaves, rules)


def _traced(flat: Callable, leaves: list[jax.Array], rules: dict[str, Callable]) -> Graph:
    """`trace` of a function of leaves that returns leaves. Raises: NotSeparableError, and as `trace`."""
    batch = leaves[0].shape[0]

    def at(size):
        return jax.make_jaxpr(flat)(*(jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype) for leaf in leaves))

    tracer = Tracer(batch, rules)
    whole = at(batch)
    try:
        other = at(batch + 1)
    except TypeError as error:
        raise InputError(
            f"f must take a batch of any size, and fails at {batch + 1} where x has {batch}: does it close over an array "
            f"with one entry for each example? ({str(error).splitlines()[0]})"
        ) from error
    inputs = tuple(tracer.node(None, (), leaf, 0) for leaf in leaves)
    outputs = tracer.interpret(whole, other, inputs)
    if len(outputs) != 1:
        raise InputError(f"f must return one array, got {len(outputs)}")
    (output,) = outputs
    if isinstance(output, Refused):
        raise output.error
    if isinstance(output, Complex):
        raise NotImplementedError("no bounds of complex values: f must return real numbers")
    if isinstance(output, Whole):
        raise NotImplementedError("no bounds of integers: f must return floating-point numbers")
    if isinstance(output, Predicate):
        raise NotImplementedError("no bounds of truth values: f must return numbers")
    if not isinstance(output, Node):
        raise InputError("f(x) does not depend on x")
    if output.batch_axis != 0:
        raise InputError(f"f must return [batch, ...], got {list(output.value.shape)} with the batch on axis {output.batch_axis}")
    return Graph(_needed(output, inputs), inputs, output)


def check_input(leaves):
    """Raises: InputError unless every leaf is a float32 or float64 array [batch, ...] of one batch size."""
    if not leaves:
        raise InputError("x holds no array")
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise InputError(f"x must be floating-point pixels, got {leaf.dtype}: convert with x.astype(jnp.float32) / 255")
        if is_narrow(leaf.dtype):
            raise InputError(f"x is {leaf.dtype}, whose rounding would exceed bounds: convert with x.astype(jnp.float32)")
        if leaf.ndim == 0 or leaf.shape[0] != leaves[0].shape[0]:
            shapes = [list(leaf.shape) for leaf in leaves]
            got = f"a tree of {len(leaves)} numbers: make an array of it" if not any(shapes) else f"shapes {shapes}"
            raise InputError(f"x must be [batch, ...], got {got}")
        if leaf.shape[0] == 0:
            raise InputError(f"x holds no example to bound: expected at least one, got shape {list(leaf.shape)}")


def _needed(output: Node, inputs) -> list[Node]:
    """The inputs and the nodes that the output depends on, in the order of computation."""
    needed, waiting = {node.index: node for node in inputs}, [output]
    while waiting:
        node = waiting.pop()
        if node.index not in needed:
            needed[node.index] = node
            waiting.extend(node.parents)
    return [needed[i] for i in sorted(needed)]
