"""XLA's elementary functions are right to the error that bounds allow them, on dense grids in float32 and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax
from quick import quick

from dsrna_jax.bounds.checks import traced
from dsrna_jax.bounds.rounding import ELEMENTARY, gamma

WIDE, POSITIVE = np.linspace(-20, 20, 4001), np.geomspace(1e-3, 1e3, 4001)
UNIT = np.concatenate([np.linspace(-0.9999, 0.9999, 4001), np.linspace(-0.416, -0.412, 1001)])
LARGE = {np.float32: np.linspace(1, 85, 1001), np.float64: np.linspace(1, 700, 1001)}
# (function, reference, arguments): references are in extended precision where NumPy has them, else in float64.
FUNCTIONS = {
    "exp": (jnp.exp, np.exp, LARGE),
    "exp2": (jnp.exp2, np.exp2, LARGE),
    "expm1": (jnp.expm1, np.expm1, WIDE),
    "log": (jnp.log, np.log, POSITIVE),
    "log1p": (jnp.log1p, np.log1p, UNIT),
    "sqrt": (jnp.sqrt, np.sqrt, POSITIVE),
    "rsqrt": (lax.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE),
    "logistic": (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), WIDE),
    "tanh": (jnp.tanh, np.tanh, WIDE),
    "sinh": (jnp.sinh, np.sinh, LARGE),
    "cosh": (jnp.cosh, np.cosh, LARGE),
    "asinh": (jnp.arcsinh, np.arcsinh, WIDE),
    "acosh": (jnp.arccosh, np.arccosh, 1 + POSITIVE),
    "atanh": (jnp.arctanh, np.arctanh, UNIT),
    "atan": (jnp.arctan, np.arctan, WIDE),
    "asin": (jnp.arcsin, np.arcsin, UNIT),
    "acos": (jnp.arccos, np.arccos, UNIT),
    "cbrt": (jnp.cbrt, np.cbrt, WIDE),
    "sin": (jnp.sin, np.sin, WIDE),
    "cos": (jnp.cos, np.cos, WIDE),
    "erf": (lax.erf, scipy.special.erf, WIDE),
    "erfc": (lax.erfc, scipy.special.erfc, np.linspace(-3, 9, 4001)),
    "erf_inv": (lax.erf_inv, scipy.special.erfinv, UNIT),
    "lgamma": (lax.lgamma, scipy.special.gammaln, POSITIVE),
    "digamma": (lax.digamma, scipy.special.psi, POSITIVE),
    "i0e": (lax.bessel_i0e, scipy.special.i0e, WIDE),
    "i1e": (lax.bessel_i1e, scipy.special.i1e, WIDE),
}


def extended(reference, x):
    """The reference in the widest type that it takes."""
    is_wide = not isinstance(reference, np.ufunc) or any("g" in types for types in reference.types)
    return reference(x.astype(np.longdouble if is_wide else np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluations_are_right_to_their_allowance(dtype):
    with jax.enable_x64():
        grids = {name: (x[dtype] if isinstance(x, dict) else x).astype(dtype) for name, (_, _, x) in FUNCTIONS.items()}
        values = quick(lambda grids: {name: FUNCTIONS[name][0](x) for name, x in grids.items()})(grids)
        for name, (f, reference, _) in FUNCTIONS.items():
            operations = []
            jax.eval_shape(lambda x, f=f: operations.append(traced(f, x).output.operation), jnp.ones((2, 3), dtype))  # noqa: B023
            x, value = grids[name], np.asarray(values[name])
            size = getattr(operations[0], "size", None) or (lambda _, f: f)
            allowed = gamma(ELEMENTARY, dtype) * np.asarray(size(np.abs(x), np.abs(value)))
            excess = np.abs(value - extended(reference, x)) / (allowed + np.finfo(dtype).tiny)
            assert excess.max() <= 1, f"{name}: {excess.max():.1f} times the allowance at {x[excess.argmax()]}"
