"""Shifts: variables added to maps, without which a network is positively homogeneous. Rescaling a network scales them."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def shift(module: nn.Module, init: Callable, shape: tuple[int, ...], name: str = "bias") -> Float[Array, "..."]:
    """A trainable parameter that `module` adds to maps or logits.

    `scaled_shifts` knows it by its name. Raises: ValueError unless that ends with "bias".
    """
    if not name.endswith("bias"):
        raise ValueError(f"the name of a shift ends with 'bias'; got {name!r}")
    return module.param(name, init, shape)


def scaled_shifts(variables: Mapping[str, Any], factor: float | Float[Array, ""]) -> Any:
    """Variables with which a cell or a head f maps factor * state to factor * f(state), and likewise a stem's batch norm.

    Parameters made by `shift` and the means of batch norms are multiplied by `factor`; variances and all other weights stay.
    """

    def scaled(path, leaf):
        names = [getattr(key, "key", getattr(key, "idx", "")) for key in path]
        if names[0] == "batch_stats":  # (mean, variance), and in front of it the number of a repeated cell
            axis = int(names[1].startswith("cells_"))
            return leaf * jnp.array([factor, 1], leaf.dtype).reshape(*[1] * axis, 2, *[1] * (leaf.ndim - 1 - axis))
        is_shift = names[-1] == 0 if names[0] == "moments" else str(names[-1]).endswith("bias")  # moments: (mean, variance)
        return factor * leaf if is_shift else leaf

    return jax.tree_util.tree_map_with_path(scaled, variables)
