"""Functions of several operations that are bounded as a whole.

silu is a product, softplus a sum: bounds of one operation at a time would be sound, but loose. A value counts as such a function
only if it was made as one of its `writings` makes it, operation by operation and with the same numbers (`structure`). All other
values are bounded one operation at a time.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Node, Refused
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.normalisation import normalised
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.wave import Limited
from dsrna_jax.bounds.shares import mean, share
from dsrna_jax.bounds.softmax import softmaxes
from dsrna_jax.bounds.structure import ANY, Made, Pattern, Variable, match_made, pattern_of


@dataclasses.dataclass(frozen=True)
class WholeFunction:
    """A function that is bounded as a whole.

    writings: ways to compute it, as functions of its operands. The first operand of a curve is its argument.
    curve: the relaxation of a function of one value; or, if `writings` contain the number ANY, a function that maps that number
      to the relaxation, or to None for numbers without one.
    rewrite: the function by other operations, which have tighter bounds.
    """

    name: str
    writings: tuple[Callable, ...]
    curve: Curve | Limited | Callable[[float], Curve | None] | None = None
    rewrite: Callable | None = None

    @property
    def arity(self) -> int:
        return self.writings[0].__code__.co_argcount if self.rewrite is not None else 1


@functools.lru_cache
def swish(a: float) -> Curve | None:
    """x * sigmoid(a x) = silu(a x) / a."""
    bend = 2.3993572805154675 / abs(a) if a and np.isfinite(a) else np.inf
    if not np.isfinite(bend):
        return None
    sign = 1 if a > 0 else -1
    size = lambda x, f: f * (1 + abs(a) * x / 8)  # noqa: E731 (a * x is rounded before it is exponentiated)
    return Curve(lambda x: x * jax.nn.sigmoid(a * x), (-bend, bend), signs=(-sign, sign, -sign), size=size)


@functools.lru_cache
def squareplus(a: float) -> Curve | None:
    """(x + sqrt(x^2 + a)) / 2."""
    return Curve(lambda x: (x + jnp.sqrt(x * x + a)) / 2, size=lambda x, f: x + f) if a > 0 else None


def within_exp(function):
    """The function where exp(2 |x|) is finite; NaN elsewhere, as a quotient of two infinities is."""
    return lambda x: jnp.where(jnp.abs(x) < math.log(float(jnp.finfo(x.dtype).max)) / 2, function(x), jnp.nan)


def below_overflow(function):
    """The function where exp(x) is finite; NaN elsewhere, where f is infinite."""
    return lambda x: jnp.where(x < math.log(float(jnp.finfo(x.dtype).max)), function(x), jnp.nan)


def _gelus():
    """Ways to write x/2 (1 + erf(x / sqrt 2))."""
    root = math.sqrt(2)
    inners = [lambda x: jax.lax.erf(x / root), lambda x: jax.lax.erf(x * (1 / root))]
    return tuple(way for inner in inners for way in _halves(inner))


def _tanh_gelus():
    """Ways to write x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    scale = math.sqrt(2 / math.pi)
    cubes = [lambda x: x**3, lambda x: x * x * x, lambda x: jnp.power(x, 3)]
    inners = [lambda x, cube=cube: jnp.tanh(scale * (x + 0.044715 * cube(x))) for cube in cubes]
    return tuple(way for inner in inners for way in _halves(inner))


def _halves(inner):
    return (
        lambda x: 0.5 * x * (1 + inner(x)),
        lambda x: x * (0.5 * (1 + inner(x))),
        lambda x: 0.5 * (x * (1 + inner(x))),
        lambda x: x * 0.5 * (1.0 + inner(x)),
        lambda x: x * (1 + inner(x)) / 2,
    )


_logs_of_exp = (lambda x: jnp.log1p(jnp.exp(x)), lambda x: jnp.log(1 + jnp.exp(x)))

WHOLES = (
    WholeFunction("square", (lambda x: x * x,), Curve(jnp.square)),
    WholeFunction("cube", (lambda x: x * x * x, lambda x: jnp.square(x) * x), Curve(lambda x: x * x * x, (0.0,))),
    WholeFunction(
        "sigmoid",
        (lambda x: 1 / (1 + jnp.exp(-x)), lambda x: 1 - 1 / (1 + jnp.exp(x))),
        Curve(jax.nn.sigmoid, (0.0,), size=lambda x, f: 1 + f),
    ),
    WholeFunction("sigmoid", (lambda x: jnp.exp(x) / (1 + jnp.exp(x)),), Curve(within_exp(jax.nn.sigmoid), (0.0,))),
    WholeFunction(
        "tanh",
        (lambda x: 1 - 2 / (1 + jnp.exp(2 * x)), lambda x: 2 / (1 + jnp.exp(-2 * x)) - 1),
        Curve(jnp.tanh, (0.0,), size=lambda x, f: 1 + f),
    ),
    WholeFunction(
        "tanh",
        (
            lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
            lambda x: (jnp.exp(2 * x) - 1) / (jnp.exp(2 * x) + 1),
            lambda x: (1 - jnp.exp(-2 * x)) / (1 + jnp.exp(-2 * x)),
            lambda x: jnp.sinh(x) / jnp.cosh(x),
        ),
        Curve(within_exp(jnp.tanh), (0.0,), size=lambda x, f: 1 + f),
    ),
    WholeFunction("silu", (lambda x: x * jax.nn.sigmoid(x), lambda x: x / (1 + jnp.exp(-x))), swish(1.0)),
    WholeFunction("swish", (lambda x: x * jax.nn.sigmoid(ANY * x),), swish),
    WholeFunction(
        "gelu",
        (functools.partial(jax.nn.gelu, approximate=False), *_gelus()),
        Curve(functools.partial(jax.nn.gelu, approximate=False), (-np.sqrt(2), np.sqrt(2)), size=lambda x, f: x),
    ),
    WholeFunction(
        "tanh_gelu",
        (functools.partial(jax.nn.gelu, approximate=True), *_tanh_gelus()),
        Curve(functools.partial(jax.nn.gelu, approximate=True), (-1.4185040087908283, 1.4185040087908283), size=lambda x, f: x),
    ),
    WholeFunction(
        "mish",
        tuple(lambda x, inner=inner: x * jnp.tanh(inner(x)) for inner in (jax.nn.softplus, *_logs_of_exp)),
        Curve(jax.nn.mish, (-2.256376396360793, 1.4905711794854284), size=lambda x, f: x + f),
    ),
    WholeFunction("softplus", (jax.nn.softplus,), Curve(jax.nn.softplus, size=lambda x, f: 1 + f)),
    WholeFunction("softplus", _logs_of_exp, Curve(below_overflow(jax.nn.softplus), size=lambda x, f: 1 + f)),
    WholeFunction("squareplus", (lambda x: jax.nn.squareplus(x, ANY),), squareplus),
    WholeFunction("elu", (jax.nn.elu,), Curve(jax.nn.elu, signs=(1,))),
    WholeFunction("soft_sign", (jax.nn.soft_sign, lambda x: x / (1 + jnp.abs(x))), Curve(jax.nn.soft_sign, (0.0,))),
    # The steepest slope of sin(t) / t is 0.43618, its least value -0.21724.
    WholeFunction("sinc", (lambda x: jnp.sinc(x),), Limited(jnp.sinc, -0.21724, 1.0, 0.4362 * math.pi)),
    WholeFunction("logaddexp", (lambda a, b: jnp.logaddexp(a, b),), rewrite=lambda a, b: b + jax.nn.softplus(a - b)),
    WholeFunction("hypot", (lambda a, b: jnp.hypot(a, b),), rewrite=lambda a, b: jnp.sqrt(jnp.square(a) + jnp.square(b))),
)


def whole(tracer, primitive, inputs, params, axes) -> list | None:
    """[node] if an operation completes a function that is bounded as a whole; else None."""
    softmax = softmaxes(tracer, primitive, inputs)
    if softmax is not None:
        return softmax
    nodes = [i for i in inputs if isinstance(i, Node)]
    dtype = nodes[0].value.dtype if nodes else None
    made = Made(primitive.name, params, inputs)
    for function, way in _ways(tracer, dtype).get(primitive.name, ()) if dtype is not None else ():
        bound = match_made(way, made, tracer.made, {})
        if bound is None:
            continue
        operands = [bound.get(Variable(i)) for i in range(function.arity)]
        if function.rewrite is not None:
            if any(isinstance(o, Node) for o in operands) and all(o is not None for o in operands):
                return tracer.inline(function.rewrite, *operands)
            continue
        (x,) = operands
        curve: Any = function.curve
        if not hasattr(curve, "enclosure"):
            curve = curve(float(number(bound[Variable(None)])))
        if isinstance(x, Node) and curve is not None and x.value.dtype == dtype:
            value = tracer.value(primitive, inputs, params)
            if value.shape == x.value.shape:
                return [tracer.node(curve, (x,), value, axes[0], function.name)]
    if primitive.name in ("mul", "div") and len(nodes) == 2 or primitive.name == "reduce_sum":
        (result,) = tracer.rules[primitive.name](tracer, primitive, inputs, params, axes)
        recognised = mean(tracer, primitive, inputs, params, result)
        if primitive.name != "reduce_sum":
            recognised = recognised or normalised(tracer, primitive, inputs, result) or share(tracer, primitive, inputs, result)
        return [recognised or result]
    return None


_KNOWN_WAYS: dict[Any, dict[str, list]] = {}


def _ways(tracer, dtype) -> dict[str, list]:
    """The patterns of all functions for operands of a type, by the name of their last operation, as (function, `Made`)."""
    if jnp.finfo(dtype).bits < 16:
        return {}
    # The operations of a pattern depend on the rules, which may be registered later.
    key = (dtype, jax.config.jax_enable_x64, tuple(tracer.rules.items()))  # pyright: ignore[reportAttributeAccessIssue]
    if key not in _KNOWN_WAYS:
        ways: dict[str, list] = {}
        for function in WHOLES:
            for writing in function.writings:
                for way in _pattern(tracer.bare(), writing, function.arity, dtype).ways:
                    ways.setdefault(way.name, []).append((function, way))
        _KNOWN_WAYS[key] = ways
    return _KNOWN_WAYS[key]


def _pattern(tracer, writing, arity, dtype):
    """The `Pattern` of a function of arrays of a type, traced as a user's function is."""
    patterns = []

    def traced(*leaves):
        arguments = [tracer.node(None, (), leaf, 0) for leaf in leaves]
        (output,) = tracer.inline(writing, *arguments)
        refused = isinstance(output, Refused)
        patterns.append(Pattern(()) if refused else pattern_of(output, arguments, tracer.made))

    jax.eval_shape(traced, *[jax.ShapeDtypeStruct((tracer.batch, 3), dtype)] * arity)
    return patterns[0]
