"""Products, cumulative reductions, and reductions by a function that is given as a jaxpr."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.jaxprs import closed
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.rules.building import rewritten, with_axes_in_front
from dsrna_jax.bounds.rules.piecewise import entries_of_pool


def running(combine):
    """The rule of cumprod and the like: `combine` of each entry and those before it, in log2(length of the axis) steps."""

    def function(x, *, axis, reverse):
        x = jnp.flip(x, axis) if reverse else x
        size, shift = x.shape[axis], 1
        part = functools.partial(lax.slice_in_dim, axis=axis)
        while shift < size:
            x = jnp.concatenate([part(x, 0, shift), combine(part(x, shift, size), part(x, 0, size - shift))], axis)
            shift *= 2
        return jnp.flip(x, axis) if reverse else x

    return rewritten(function)


def product(x, *, axes, **_):
    """The primitive reduce_prod, by halves."""
    x = with_axes_in_front(x, axes=axes)
    while len(x) > 1:
        half = len(x) // 2
        x = jnp.concatenate([x[:half] * x[half : 2 * half], x[2 * half :]])
    return x.reshape(x.shape[1:])


NEUTRAL = {"add": 0.0, "max": -np.inf, "min": np.inf, "mul": 1.0}
REDUCTIONS = {"add": jnp.sum, "max": jnp.max, "min": jnp.min, "mul": jnp.prod}
COMBINATIONS = {"add": lax.add, "max": lax.max, "min": lax.min, "mul": lax.mul}


def _combination(tracer, primitive, params):
    """The one operation of a reduction's function: add, max, min or mul. Raises: NotImplementedError if it is another."""
    jaxpr = closed(params["jaxpr"]).jaxpr
    names = [equation.primitive.name for equation in jaxpr.eqns]
    (equation,) = jaxpr.eqns if len(names) == 1 else (None,)
    if equation is None or names[0] not in NEUTRAL or set(equation.invars) != set(jaxpr.invars) or len(set(jaxpr.invars)) != 2:
        raise NotImplementedError(f"no bounds of {primitive.name} by another function than add, max, min or mul{tracer.where}")
    return names[0]


def reduce(tracer, primitive, operands, params, axes):
    """The rule of reduce, by a function and an initial value. Raises: NotImplementedError for several arrays."""
    if len(operands) != 2:
        raise NotImplementedError(f"no bounds of reduce of several arrays{tracer.where}")
    name = _combination(tracer, primitive, params)
    dimensions = params["dimensions"]
    return tracer.inline(lambda x, init: COMBINATIONS[name](REDUCTIONS[name](x, dimensions), init), *operands)


def reduce_window(tracer, primitive, operands, params, axes):
    """The rule of reduce_window, by a function and an initial value that also pads.

    Raises: NotImplementedError for several arrays, and for sums and products that do not start at 0 and 1.
    """
    if len(operands) != 2:
        raise NotImplementedError(f"no bounds of reduce_window of several arrays{tracer.where}")
    name, (_, init) = _combination(tracer, primitive, params), operands
    if number(init) is None or number(init) != NEUTRAL[name] and name in ("add", "mul"):
        raise NotImplementedError(f"no bounds of reduce_window by {name} that does not start at {NEUTRAL[name]:g}{tracer.where}")
    grid = [params[key] for key in ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")]

    def windows(x):
        dtype = x.dtype
        pooled = lax.reduce_window(x, np.asarray(NEUTRAL[name], dtype), COMBINATIONS[name], *grid)
        return pooled if name == "add" or number(init) == NEUTRAL[name] else COMBINATIONS[name](pooled, np.asarray(init, dtype))

    if name == "mul":
        return tracer.inline(lambda x: product(x, axes=(0,)), entries_of_pool(tracer, operands[0], 1.0, params, axes[0]))
    return tracer.inline(windows, operands[0])


def window_smallest(x, **params):
    """The primitive reduce_window_min."""
    grid = [params[key] for key in ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")]
    return -lax.reduce_window(-x, np.asarray(-np.inf, x.dtype), lax.max, *grid)


RULES = {
    "cumprod": running(lax.mul),
    "cummax": running(jnp.maximum),
    "cummin": running(jnp.minimum),
    "cumlogsumexp": running(jnp.logaddexp),
    "reduce_prod": rewritten(product),
    "reduce": reduce,
    "reduce_window": reduce_window,
    "reduce_window_min": rewritten(window_smallest),
}
