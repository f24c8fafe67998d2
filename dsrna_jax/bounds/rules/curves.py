"""Smooth elementwise functions, mostly of one value."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.least import least
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.wave import Angle, Limited, Wave
from dsrna_jax.bounds.rules.building import broadcast_nodes, constant_node, nodes_of, rewritten


def curve(curve: Curve, name: str | None = None, function=None):
    """The rule of an elementwise function; nodes are called by `name`, or by the primitive.

    function: gives the values at the point of the trace where the curve leaves out a part of the domain.
    """

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        bottom = least(tracer, x)
        own = dataclasses.replace(curve, least=bottom) if bottom > -np.inf else curve
        return [tracer.node(own, (x,), (function or curve.function)(x.value), axes[0], name or primitive.name)]

    return rule


def integer_power(tracer, primitive, operands, params, axes):
    """The rule of integer_pow."""
    exponent = params["y"]
    if exponent == 1:
        return operands
    if exponent == 0:
        return [jnp.ones_like(operands[0].value)]
    return curve(power_curve(exponent), "power")(tracer, primitive, operands, params, axes)


@functools.lru_cache
def power_curve(exponent: int) -> Curve:
    """x ** exponent, with a pole at 0 for negative exponents."""
    odd_or_pole = (0.0,) if exponent < 0 or exponent % 2 else ()
    poles = (0.0,) if exponent < 0 else ()
    return Curve(lambda x: x**exponent, odd_or_pole, poles, size=lambda x, f: f * (1 + abs(exponent) / 8))


def real_power(tracer, primitive, operands, params, axes):
    """The rule of pow: x ** constant, of any x for a whole exponent and of x >= 0 for others, and base ** x for a base > 0."""
    base, exponent = operands
    if not isinstance(exponent, Node) and (power := number(exponent)) is not None:
        if float(power).is_integer() and abs(power) <= LARGEST_INTEGER:
            return integer_power(tracer, primitive, [base], {"y": int(power)}, axes)
        # Below 0 and at poles the result is NaN or infinite, or of a sign that depends on the last digit: there are no bounds.
        return curve(Curve(lambda x: jnp.where(x >= 0, x**power, jnp.nan)), "power")(tracer, primitive, [base], params, axes)
    return tracer.inline(lambda base, exponent: jnp.exp(exponent * jnp.log(base)), base, exponent)


def wave(peak):
    """The rule of sin and cos."""

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        return [tracer.node(Wave(peak), (x,), tracer.value(primitive, operands, params), axes[0], primitive.name)]

    return rule


def angle(tracer, primitive, operands, params, axes):
    """The rule of atan2."""
    value = tracer.value(primitive, operands, params)
    y, x = (o if isinstance(o, Node) else constant_node(tracer, o, nodes_of(operands)[0]) for o in operands)
    return [tracer.node(Angle(), broadcast_nodes(tracer, [y, x], axes), value, axes[0], "atan2")]


def even(half: Curve):
    """The rule of an even function, which is the curve `half` of |x|."""

    def rule(tracer, primitive, operands, params, axes):
        return curve(half, primitive.name)(tracer, primitive, tracer.inline(jnp.abs, *operands), params, axes)

    return rule


def limited(known: Limited):
    """The rule of an elementwise function of known range and steepest slope."""

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        return [tracer.node(known, (x,), tracer.value(primitive, operands, params), axes[0], primitive.name)]

    return rule


def polynomial(x, *coefficients, **_):
    """The primitive polynomial, of coefficients of ascending powers."""
    return functools.reduce(lambda total, coefficient: total * x + coefficient, coefficients[::-1], jnp.zeros_like(x))


def above_zero(function):
    """The function for x > 0, NaN elsewhere."""
    return lambda x: jnp.where(x > 0, function(jnp.where(x > 0, x, 1)), jnp.nan)


LARGEST_INTEGER = 2**10  # larger powers overflow float32 unless |x| is close to 1

RECIPROCAL = power_curve(-1)

# `size` says where an evaluation is off by more than ELEMENTARY roundings of its result: log1p and atanh lose digits near -0.414
# in float64 alone.
RULES = {
    "integer_pow": integer_power,
    "pow": real_power,
    "square": curve(Curve(jnp.square)),
    "one_minus_square": curve(Curve(lambda x: 1 - x * x)),
    "exp": curve(Curve(jnp.exp)),
    "exp2": curve(Curve(jnp.exp2, size=lambda x, f: f * (1 + x / 8))),
    "expm1": curve(Curve(jnp.expm1)),
    "log": curve(Curve(jnp.log)),
    "log2": curve(Curve(jnp.log2)),
    "log1p": curve(Curve(jnp.log1p, size=lambda x, f: f * (48 if f.dtype == np.float64 else 1))),
    "sqrt": curve(Curve(jnp.sqrt)),
    "rsqrt": curve(Curve(lax.rsqrt)),
    "logistic": curve(Curve(jax.nn.sigmoid, (0.0,))),
    "tanh": curve(Curve(jnp.tanh, (0.0,))),
    "erf": curve(Curve(lax.erf, (0.0,))),
    "erfc": curve(Curve(lax.erfc, (0.0,), size=lambda x, f: f * (2 + x * x / 2))),
    # 1 - x * x is evaluated to a rounding of 1.
    "erf_inv": curve(Curve(lax.erf_inv, (0.0,), size=lambda x, f: f * (4 + 1 / jnp.maximum(1 - x * x, jnp.finfo(x.dtype).eps)))),
    "atan": curve(Curve(jnp.arctan, (0.0,))),
    "asin": curve(Curve(jnp.arcsin, (0.0,))),
    "acos": curve(Curve(jnp.arccos, (0.0,))),
    "sinh": curve(Curve(jnp.sinh, (0.0,), size=lambda x, f: f * (1 + x / 4))),
    "cosh": curve(Curve(jnp.cosh, size=lambda x, f: f * (1 + x / 4))),
    "asinh": curve(Curve(jnp.arcsinh, (0.0,))),
    "acosh": curve(Curve(jnp.arccosh, signs=(-1,))),
    "atanh": curve(Curve(jnp.arctanh, (0.0,), size=lambda x, f: f * (32 if f.dtype == np.float64 else 1))),
    "cbrt": curve(Curve(jnp.cbrt, (0.0,))),
    "lgamma": curve(Curve(above_zero(lax.lgamma), size=lambda x, f: 5 * (1 + f)), function=lax.lgamma),
    "digamma": curve(Curve(above_zero(lax.digamma), size=lambda x, f: 3 * (1 + f)), function=lax.digamma),
    # A mixture of exp(-c |x|) for c >= 0 (DLMF 10.32.1).
    "bessel_i0e": even(Curve(lax.bessel_i0e, signs=(1,))),
    # Its greatest value is 0.21903; by the same integral its slope is at most 2 / pi.
    "bessel_i1e": limited(Limited(lax.bessel_i1e, -0.2191, 0.2191, 0.637)),
    "sin": wave(np.pi / 2),
    "cos": wave(0.0),
    "tan": rewritten(lambda x, **_: jnp.sin(x) / jnp.cos(x)),
    "atan2": angle,
    "polynomial": rewritten(polynomial),
}
