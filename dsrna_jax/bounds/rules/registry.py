"""What each JAX primitive does to bounded values: a table by the primitive's name, and how to add to it."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.curves import Curve
from dsrna_jax.bounds.graph import Predicate
from dsrna_jax.bounds.relaxations import Hinge
from dsrna_jax.bounds.rules.affine import elementwise_sum, identity, moving, scatter
from dsrna_jax.bounds.rules.comparisons import comparison, opposite, select
from dsrna_jax.bounds.rules.nonlinear import curve, hinge, largest, power, real_power, window_largest
from dsrna_jax.bounds.rules.products import convolution, product_of_matrices, quotient, scaled, trilinear

# A rule is (tracer, primitive, operands, params, batch axes of the outputs) -> outputs; operands are nodes and arrays.
RULES: dict[str, Callable] = {}


def register(primitive: str, rule: Curve | Callable) -> None:
    """Teaches the bounds a primitive.

    Args:
      primitive: its name, as `jax.make_jaxpr` shows it.
      rule: a `Curve`, for an elementwise function of one value; or a function of the primitive's operands and parameters that
        computes the same by operations that have rules.
    """
    if isinstance(rule, Curve):
        RULES[primitive] = curve(rule)
    else:
        RULES[primitive] = _rewrite(rule)


def _cast(tracer, primitive, operands, params, axes):
    if not jnp.issubdtype(params["new_dtype"], jnp.floating):
        raise NotImplementedError(f"no bounds of a conversion to {np.dtype(params['new_dtype']).name}{tracer.where}")
    if isinstance(operands[0], Predicate):
        cases = [np.broadcast_to(np.asarray(v, params["new_dtype"]), operands[0].difference.value.shape) for v in (0, 1)]
        return select(tracer, lax.select_n_p, [operands[0], *cases], {}, axes)
    return moving(0, singleton=True)(tracer, primitive, operands, params, axes)


def _rewrite(function):
    def rule(tracer, primitive, operands, params, axes):
        return tracer.inline(functools.partial(function, **params), *operands)

    return rule


RULES |= {
    "add": elementwise_sum(1),
    "add_any": elementwise_sum(1),
    "sub": elementwise_sum(-1),
    "neg": _rewrite(lambda x: -1 * x),
    "mul": scaled(singleton=True),
    "div": quotient,
    "dot_general": product_of_matrices,
    "conv_general_dilated": convolution,
    "depthwise": trilinear,
    "pointwise": trilinear,
    "max": hinge(0.0, 1.0),
    "min": hinge(1.0, 0.0),
    "abs": lambda tracer, primitive, operands, params, axes: [
        tracer.node(Hinge(-1.0, 1.0), operands, jnp.abs(operands[0].value), axes[0], "abs")
    ],
    "clamp": _rewrite(lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high)),
    "reduce_max": largest(1),
    "reduce_min": largest(-1),
    "reduce_window_max": window_largest,
    "select_n": select,
    "integer_pow": power,
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
    "convert_element_type": _cast,
    "rev": moving(0, singleton=True),
    "not": opposite,
    "pow": real_power,
    "tile": moving(0, structural=True),
    "split": moving(0, structural=True),
    "unstack": moving(0, structural=True),
    "gather": moving(0, structural=True),
    "dynamic_slice": moving(0, structural=True),
    "reduce_sum": moving(0, structural=False),
    "reduce_window_sum": moving(0, structural=False),
    "scatter-add": moving(0, 2, structural=False),
    "scatter": scatter,
    "dynamic_update_slice": moving(0, 1, structural=False),
    "pad": moving(0, 1, singleton=True),
}
RULES |= {name: moving(0, singleton=True) for name in ("reshape", "transpose", "squeeze", "expand_dims", "slice")}
RULES |= {name: moving(0) for name in ("broadcast_in_dim", "reduce_precision")}
RULES |= {name: moving(*range(1000)) for name in ("concatenate", "stack")}
RULES |= {"cumsum": moving(0, structural=False)}
RULES |= {name: comparison for name in ("gt", "ge", "lt", "le", "ne", "eq", "is_finite")}
RULES |= {
    name: identity
    for name in ("stop_gradient", "optimization_barrier", "copy", "copy_p", "sharding_constraint", "layout_constraint")
}
