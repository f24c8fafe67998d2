"""Tells known numbers from traced ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_known(*values) -> bool:
    """Whether the numbers of all values are there, rather than being traced."""
    tracer = jax.core.Tracer  # pyright: ignore[reportAttributeAccessIssue] (the only public name of tracers)
    return not any(isinstance(value, tracer) for value in values)


def number(constant) -> Any:
    """The number that all entries of a constant are, if that can be seen; None for other arrays, keys and traced values."""
    if not is_known(constant) or jnp.issubdtype(getattr(constant, "dtype", np.float32), jax.dtypes.extended):
        return None
    if np.ndim(constant) == 0:
        return np.asarray(constant)[()]
    is_spread = isinstance(constant, np.ndarray) and constant.size and not any(constant.strides)
    return constant[(0,) * constant.ndim] if is_spread else None
