"""The identity as a border that XLA does not fuse across: of derivatives on a GPU, of the operands of a stack on a CPU."""

import jax
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, Float

from dsrna_jax.kernels.lowering import ACCELERATORS, define, noinline

border_p, apart_p = Primitive("border"), Primitive("apart")


@jax.custom_jvp
def summed_once(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, whose derivative is a sum of several terms and meets several consumers.

    On a GPU that sum is written to memory, and each consumer reads its own part. The function itself has no border, so that
    bounds and exports see nothing of it.
    """
    return x


@summed_once.defjvp
def _(primals, tangents):
    return *primals, border_p.bind(*tangents)


@jax.custom_jvp
def derived_once(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, whose derivative meets several consumers: it is computed once, where XLA would compute it in each of them."""
    return x


@derived_once.defjvp
def _(primals, tangents):
    return *primals, apart_p.bind(border_p.bind(*tangents))


def apart(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, which a CPU computes by a loop of its own.

    For operands of a stack or a concatenation: XLA fuses into it what makes them, and the loop is then not a vector loop.
    """
    return apart_p.bind(x)


def _define_identity(primitive, **lowerings):
    define(
        primitive,
        lambda x: x,
        lambda x: x,
        lambda operands, axes: (primitive.bind(*operands), *axes),
        transposes=(lambda cotangent, x: primitive.bind(cotangent),),
        on=lowerings,
    )


_define_identity(border_p, **dict.fromkeys(ACCELERATORS, lax.optimization_barrier))
_define_identity(apart_p, cpu=noinline(lambda x: x))
