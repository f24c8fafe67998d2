"""Constants that are one number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.inputs import is_known


def number(constant) -> Any:
    """The number of a known scalar, or of a NumPy array that repeats one without copies; None for any other constant."""
    if not is_known(constant) or jnp.issubdtype(getattr(constant, "dtype", np.float32), jax.dtypes.extended):
        return None
    if np.ndim(constant) == 0:
        return np.asarray(constant)[()]
    is_spread = isinstance(constant, np.ndarray) and constant.size and not any(constant.strides)
    return constant[(0,) * constant.ndim] if is_spread else None
