"""Definition of primitives, and pieces that their lowerings share: calls that XLA does not inline, zero padding, precision."""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

ACCELERATORS = ("cuda", "rocm")


def define(
    primitive: Primitive,
    f: Callable,
    abstract: Callable,
    batch: Callable,
    *,
    static: Sequence[str] = (),
    transposes: Sequence[Callable] = (),
    on: Mapping[str, Callable] | None = None,
) -> None:
    """Gives a primitive of one result its implementation, shape, batching, derivatives and lowerings.

    Args:
      f: (*operands, **params) -> result, in JAX; the implementation, and the lowering on every platform without one in `on`.
      abstract: (*abstract operands, **params) -> abstract result.
      batch: (operands, axes, **params) -> (result, axis), as `jax.interpreters.batching` takes it.
      static: names of `params`.
      transposes: one function (cotangent, *operands, **params) -> cotangent for each of the leading operands in which the
        primitive is linear; the operand itself arrives with an `aval` alone. Two make it bilinear; after one, further
        operands are constants. None: the primitive has no derivatives.
      on: lowerings of single platforms, by their name.
    """
    primitive.def_impl(jax.jit(f, static_argnames=tuple(static)))
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    if len(transposes) == 1:
        _define_linear(primitive, *transposes)
    elif transposes:
        ad.defbilinear(primitive, *transposes)
    mlir.register_lowering(primitive, mlir.lower_fun(f, multiple_results=False))
    for platform, lowering in (on or {}).items():
        mlir.register_lowering(primitive, mlir.lower_fun(lowering, multiple_results=False), platform=platform)


def _define_linear(primitive, transpose):
    """Derivatives by the first operand, in which the primitive is linear."""

    def jvp(primals, tangents, **params):
        result = primitive.bind(*primals, **params)
        if type(tangents[0]) is ad.Zero:
            return result, ad.Zero(jax.typeof(result).to_tangent_aval())
        return result, primitive.bind(tangents[0], *primals[1:], **params)

    def transposed(cotangent, *operands, **params):
        others = [None] * (len(operands) - 1)
        if type(cotangent) is ad.Zero:
            return [ad.Zero(operands[0].aval), *others]
        return [transpose(cotangent, *operands, **params), *others]

    ad.primitive_jvps[primitive], ad.primitive_transposes[primitive] = jvp, transposed


def trilinear_transposes(primitive: Primitive) -> tuple[Callable, Callable]:
    """Transposes of a bilinear primitive that solves a trilinear form of image, kernel and output for one of the three.

    The parameter `solve` names the one that is computed. The primitive is closed under transposition:

        solve      operands         transposed by the first    transposed by the second
        "output"   image, kernel    image(ct, kernel)          kernel(image, ct)
        "image"    output, kernel   output(ct, kernel)         kernel(ct, output)
        "kernel"   image, output    image(output, ct)          output(image, ct)
    """

    def first(ct, _, second, *, solve, **params):
        if solve == "kernel":
            return primitive.bind(second, ct, solve="image", **params)
        return primitive.bind(ct, second, solve={"output": "image", "image": "output"}[solve], **params)

    def second(ct, first, _, *, solve, **params):
        if solve == "image":
            return primitive.bind(ct, first, solve="kernel", **params)
        return primitive.bind(first, ct, solve={"output": "kernel", "kernel": "output"}[solve], **params)

    return first, second


def noinline(f: Callable) -> Callable:
    """f, in a call that XLA does not inline on a CPU, so that XLA fuses nothing across its borders.

    Use when XLA would fuse f into its consumers and thereby slow it down or recompute it.
    """

    def call(*arrays, **params):
        return set_xla_metadata(jax.jit(functools.partial(f, **params) if params else f)(*arrays), inlineable="false")

    return call


def pad_with_zeros(x: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """x with `widths` (before, after) >= 0 of zeros along each axis.

    By concatenations, which XLA writes faster on a CPU than its own `pad`.
    """
    for axis, pair in enumerate(widths):
        before, after = (jnp.zeros((*x.shape[:axis], width, *x.shape[axis + 1 :]), x.dtype) for width in pair)
        x = jnp.concatenate([part for part in (before, x, after) if part.shape[axis]], axis)
    return x


def matmul_precision() -> str | None:
    """The matmul precision in force (`jax.default_matmul_precision`): a parameter of primitives that `takes_precision` lowers."""
    return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]


def takes_precision(lowering: Callable) -> Callable:
    """`lowering` with one more parameter, `precision`: that of its matrix products.

    Applies the matmul precision in force at the call site, not at lowering time.
    """

    def at_precision(*operands, precision, **params):
        with jax.default_matmul_precision(precision):
            return lowering(*operands, **params)

    return at_precision


def at_full_precision(lowering: Callable) -> Callable:
    """A lowering made by `takes_precision`, at the highest precision whatever is asked for. CPUs compute at no other.

    XLA does not merge products of different precision: it would compute a network and the centre of its bounds twice.
    """
    return lambda *operands, precision, **params: lowering(*operands, precision="highest", **params)
