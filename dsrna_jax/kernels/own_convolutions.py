"""The convolutions of any function by the primitives of this package, whose derivatives are many times as fast on a CPU."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dsrna_jax.kernels.convolution import convolution, transposed_convolution
from dsrna_jax.kernels.depthwise import depthwise
from dsrna_jax.kernels.equations import evaluated

# Primitives that compute their jaxprs and nothing else, also when they are differentiated.
REWRITTEN = frozenset("jit pjit closed_call core_call checkpoint remat remat2 scan while cond".split())


def with_own_convolutions(f: Callable) -> Callable:
    """f, with `convolution` and `depthwise` in place of those of `lax.conv_general_dilated` that they can take the place of.

    The same numbers but for rounding. Functions with derivatives of their own (`jax.custom_jvp`, `jax.custom_vjp`) stay as they
    are.
    """

    def rewritten(*arguments):
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*arguments)
        leaves, structure = jax.tree.leaves(arguments), jax.tree.structure(shape)
        outputs = _evaluated(closed, *leaves) if _convolves(closed.jaxpr) else core.jaxpr_as_fun(closed)(*leaves)
        return jax.tree.unflatten(structure, outputs)

    return rewritten


def own_convolution(image, params: dict[str, Any]) -> Callable | None:
    """A convolution of an image of this shape and dtype, with the parameters of `lax.conv_general_dilated`, by our primitives.

    Returns: a function of image and kernel; None for convolutions of whole or complex numbers, by groups of several channels, and
      with strides of spread images.
    """
    groups, channels = params["feature_group_count"], image.shape[params["dimension_numbers"].lhs_spec[1]]
    if params["batch_group_count"] != 1 or not jnp.issubdtype(image.dtype, jnp.floating):
        return None
    if is_spread(params):
        return None if groups > 1 or set(params["window_strides"]) != {1} else functools.partial(_with_channels_last, **params)
    if groups == 1:
        return functools.partial(_with_channels_last, **params)
    if groups == channels and len(image.shape) == 4 and len(set(params["window_strides"])) == 1:
        return functools.partial(_by_shifts, **params)
    return None


def is_spread(params: dict[str, Any]) -> bool:
    """Whether a convolution with the parameters of `lax.conv_general_dilated` is of a spread image: a transposed one."""
    return set(params["lhs_dilation"]) != {1}


def _with_channels_last(image, kernel, *, window_strides, padding, rhs_dilation, dimension_numbers, **params):
    lhs, rhs, out = dimension_numbers
    maps, filters = jnp.transpose(image, (lhs[0], *lhs[2:], lhs[1])), jnp.transpose(kernel, (*rhs[2:], rhs[1], rhs[0]))
    kinds = {"padding": padding, "dilation": rhs_dilation}
    if is_spread(params):
        result = transposed_convolution(maps, filters, spread=params["lhs_dilation"], **kinds)
    else:
        result = convolution(maps, filters, strides=window_strides, **kinds)
    return jnp.transpose(result, _inverse(out[0], *out[2:], out[1]))


def _by_shifts(image, kernel, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """A convolution of each channel by itself."""
    lhs, rhs, out = dimension_numbers
    maps = jnp.transpose(image, (lhs[1], lhs[0], *lhs[2:]))[None]  # [1, channel, batch, height, width]
    channels, size, stride = maps.shape[1], maps.shape[-2:], window_strides[0]
    taps = jnp.transpose(kernel, (*rhs[2:], rhs[0], rhs[1]))[..., 0]  # [height, width, channel * multiple]
    sides = taps.shape[:2]
    offsets = [tuple(t * d - p[0] for t, d, p in zip(tap, rhs_dilation, padding, strict=True)) for tap in np.ndindex(*sides)]
    wanted = [(n + sum(p) - (k - 1) * d - 1) // stride + 1 for n, p, k, d in zip(size, padding, sides, rhs_dilation, strict=True)]
    extra = [max(w * stride - n, 0) for w, n in zip(wanted, size, strict=True)]
    maps = jnp.pad(maps, [(0, 0)] * 3 + [(0, e) for e in extra])
    kernels = jnp.moveaxis(taps.reshape(len(offsets), 1, channels, -1), -1, 2)
    result = depthwise(maps, kernels, offsets, stride=stride)[0, ..., : wanted[0], : wanted[1]]
    result = jnp.moveaxis(result, 0, 1).reshape(-1, *result.shape[2:])  # [channel * multiple, batch, height, width]
    return jnp.transpose(result, _inverse(out[1], out[0], *out[2:]))


def _inverse(*permutation) -> tuple[int, ...]:
    return tuple(map(int, np.argsort(permutation)))


def _rewritten(closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
    if not _convolves(closed.jaxpr):
        return closed
    return jax.make_jaxpr(functools.partial(_evaluated, closed))(*closed.in_avals)


def _convolves(jaxpr: core.Jaxpr) -> bool:
    """Whether there are convolutions in a jaxpr, or in those that it calls."""
    return any(e.primitive.name == "conv_general_dilated" or any(map(_convolves, _called(e))) for e in jaxpr.eqns)


def _called(equation) -> list[core.Jaxpr]:
    if equation.primitive.name not in REWRITTEN:
        return []
    parts = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda part: hasattr(part, "eqns"))
    return [getattr(part, "jaxpr", part) for part in parts if hasattr(part, "eqns")]


def _evaluated(closed: core.ClosedJaxpr, *arguments) -> list:
    """Outputs of a jaxpr, with convolutions by our own primitives."""
    jaxpr = closed.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))
    value = lambda v: v.val if isinstance(v, core.Literal) else known[v]  # noqa: E731
    for equation in jaxpr.eqns:
        with equation.ctx.manager:
            outputs = _outputs(equation, [value(v) for v in equation.invars])
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [value(v) for v in jaxpr.outvars]


def _outputs(equation, inputs) -> list:
    primitive, params = equation.primitive, equation.params
    if primitive.name == "conv_general_dilated":
        if own := own_convolution(equation.invars[0].aval, params):
            return [own(*inputs).astype(equation.outvars[0].aval.dtype)]
    if any(map(_convolves, _called(equation))):
        params = {name: _with_rewritten(param) for name, param in params.items()}
    return evaluated(primitive, inputs, params)


def _with_rewritten(param):
    """A parameter with jaxprs rewritten, alone or in a tuple."""
    if isinstance(param, tuple):
        return tuple(map(_with_rewritten, param))
    if isinstance(param, core.ClosedJaxpr):
        return _rewritten(param)
    if isinstance(param, core.Jaxpr):
        closed = _rewritten(core.ClosedJaxpr(param, ()))
        return param if closed.consts else closed.jaxpr
    return param
