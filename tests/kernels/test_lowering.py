"""Primitives that `define` makes are closed under transformation, and the shared pieces of lowerings do what they say."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive

from dsrna_jax.kernels.lowering import define, noinline, pad_with_zeros

X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([[1, -2, 3], [0.5, 0, -1]])

product_p = Primitive("product_by_a_constant")


def product(x, y, *, factor):
    return factor * x * y


def batch(operands, axes, **params):
    x, y = (o if a is None else jnp.moveaxis(o, a, 0) for o, a in zip(operands, axes, strict=True))
    return product_p.bind(*jnp.broadcast_arrays(x, y), **params), 0


define(
    product_p,
    product,
    lambda x, y, *, factor: x,
    batch,
    static=("factor",),
    transposes=(lambda ct, x, y, **params: product_p.bind(ct, y, **params),),
    on={"cuda": lambda x, y, *, factor: jnp.sin(product(x, y, factor=factor))},
)


def f(x):
    return product_p.bind(jnp.sin(x), Y, factor=2.0)


def plain(x):
    return product(jnp.sin(x), Y, factor=2.0)


def test_a_defined_primitive_is_its_implementation_also_without_jit():
    chex.assert_trees_all_close(f(X), plain(X), rtol=1e-6)


@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, x: f(x),
        lambda f, x: jax.jvp(f, (x,), (Y,)),
        lambda f, x: jax.grad(lambda x: (f(x) ** 2).sum())(x),
        lambda f, x: jax.jvp(jax.grad(lambda x: (f(x) ** 2).sum()), (x,), (Y,)),
        lambda f, x: jax.vmap(f)(jnp.stack([x, 2 * x])),
        lambda f, x: jax.jacrev(f)(x),
    ],
    ids=["jit", "jvp", "grad", "second order", "vmap", "jacrev"],
)
def test_a_defined_primitive_transforms_as_its_implementation_does(transformed):
    ours, theirs = jax.jit(lambda x: (transformed(f, x), transformed(plain, x)))(X)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)


def test_a_further_operand_of_a_linear_primitive_is_a_constant():
    gradient = jax.jit(jax.grad(lambda y: product_p.bind(X, y, factor=2.0).sum()))
    np.testing.assert_array_equal(gradient(Y), 0)


def test_a_platform_gets_its_own_lowering():
    texts = [jax.jit(f).trace(X).lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "cuda")]
    assert [text.count("stablehlo.sine") for text in texts] == [1, 2]


def test_noinline_calls_a_function_that_xla_may_not_inline():
    program = jax.jit(lambda x: noinline(lambda x, *, power: x**power)(x, power=3)).lower(X)
    assert 'inlineable = "false"' in program.as_text()
    np.testing.assert_array_equal(program.compile()(X), X**3)


def test_pad_with_zeros_equals_jax_numpy():
    widths = [(0, 2), (1, 0)]
    np.testing.assert_array_equal(jax.jit(lambda x: pad_with_zeros(x, widths))(X), np.pad(X, widths))
