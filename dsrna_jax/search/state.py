"""The state of a search between two steps, and the batches of its steps."""

from typing import Any, NamedTuple

import flax.struct
import jax
from jaxtyping import Array, Float, Int

from dsrna_jax.search.mixing import Kept


class SearchBatch(NamedTuple):
    """Images in [0, 1] and their labels."""

    images: Float[Array, "batch height width channel"]
    labels: Int[Array, " batch"]


class SearchState(flax.struct.PyTreeNode):
    """The state of a search between two steps."""

    step: jax.Array
    weights: Any
    batch_stats: Any
    alphas: dict[str, jax.Array]
    weight_optimizer: Any
    alpha_optimizer: Any
    log_radius: jax.Array
    kept: Kept | None = None  # what a search that prunes has left, or one of fewer operations has
