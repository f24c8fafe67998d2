"""Smooth functions of one value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.wave import Angle, Wave
from dsrna_jax.bounds.rules.building import broadcast_nodes, constant_node, nodes_of, rewritten


def curve(curve: Curve, name: str | None = None):
    """The rule of an elementwise function; nodes are called by `name`, or by the primitive."""

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        return [tracer.node(curve, (x,), curve.function(x.value), axes[0], name or primitive.name)]

    return rule


def power(tracer, primitive, operands, params, axes):
    """integer_pow."""
    exponent = params["y"]
    if exponent == 1:
        return operands
    return curve(power_curve(exponent), "power")(tracer, primitive, operands, params, axes)


@functools.lru_cache
def power_curve(exponent: int) -> Curve:
    """x ** exponent, with a pole at 0 for negative exponents."""
    odd_or_pole = (0.0,) if exponent < 0 or exponent % 2 else ()
    return Curve(lambda x: x**exponent, odd_or_pole, poles=(0.0,) if exponent < 0 else ())


def real_power(tracer, primitive, operands, params, axes):
    """pow: x ** constant for x > 0, and constant ** x for a constant > 0."""
    base, exponent = operands
    if not isinstance(exponent, Node) and (power := number(exponent)) is not None:
        return curve(Curve(lambda x: x**power), "power")(tracer, primitive, [base], params, axes)
    return tracer.inline(lambda base, exponent: jnp.exp(exponent * jnp.log(base)), base, exponent)


def wave(peak):
    """The rule of sin and cos."""

    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        return [tracer.node(Wave(peak), (x,), tracer.value(primitive, operands, params), axes[0], primitive.name)]

    return rule


def angle(tracer, primitive, operands, params, axes):
    """atan2."""
    value = tracer.value(primitive, operands, params)
    y, x = (o if isinstance(o, Node) else constant_node(tracer, o, nodes_of(operands)[0]) for o in operands)
    return [tracer.node(Angle(), broadcast_nodes(tracer, [y, x], axes), value, axes[0], "atan2")]


def polynomial(x, *coefficients, **_):
    """polynomial: of ascending powers."""
    return functools.reduce(lambda total, coefficient: total * x + coefficient, coefficients[::-1], jnp.zeros_like(x))


def above_zero(function):
    """A function where x is above 0, and no value elsewhere."""
    return lambda x: jnp.where(x > 0, function(jnp.where(x > 0, x, 1)), jnp.nan)


RECIPROCAL = power_curve(-1)

RULES = {
    "integer_pow": power,
    "pow": real_power,
    "square": curve(Curve(jnp.square)),
    "one_minus_square": curve(Curve(lambda x: 1 - x * x)),
    "exp": curve(Curve(jnp.exp)),
    "exp2": curve(Curve(jnp.exp2)),
    "expm1": curve(Curve(jnp.expm1)),
    "log": curve(Curve(jnp.log)),
    "log2": curve(Curve(jnp.log2)),
    "log1p": curve(Curve(jnp.log1p)),
    "sqrt": curve(Curve(jnp.sqrt)),
    "rsqrt": curve(Curve(lax.rsqrt)),
    "logistic": curve(Curve(jax.nn.sigmoid, (0.0,))),
    "tanh": curve(Curve(jnp.tanh, (0.0,))),
    "erf": curve(Curve(lax.erf, (0.0,))),
    "erfc": curve(Curve(lax.erfc, (0.0,))),
    "erf_inv": curve(Curve(lax.erf_inv, (0.0,))),
    "atan": curve(Curve(jnp.arctan, (0.0,))),
    "asin": curve(Curve(jnp.arcsin, (0.0,))),
    "acos": curve(Curve(jnp.arccos, (0.0,))),
    "sinh": curve(Curve(jnp.sinh, (0.0,))),
    "cosh": curve(Curve(jnp.cosh)),
    "asinh": curve(Curve(jnp.arcsinh, (0.0,))),
    "acosh": curve(Curve(jnp.arccosh, signs=(-1,))),
    "atanh": curve(Curve(jnp.arctanh, (0.0,))),
    "cbrt": curve(Curve(jnp.cbrt, (0.0,))),
    "lgamma": curve(Curve(above_zero(lax.lgamma))),
    "digamma": curve(Curve(above_zero(lax.digamma))),
    "sin": wave(np.pi / 2),
    "cos": wave(0.0),
    "tan": rewritten(lambda x, **_: jnp.sin(x) / jnp.cos(x)),
    "atan2": angle,
    "polynomial": rewritten(polynomial),
}
