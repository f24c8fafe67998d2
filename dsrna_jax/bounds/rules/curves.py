"""Smooth functions of one value."""

import jax
import jax.numpy as jnp
from jax import lax

from dsrna_jax.bounds.graph import Node
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.curve import Curve


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
}
