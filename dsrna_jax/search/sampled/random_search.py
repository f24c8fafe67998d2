"""Random search with weight sharing (Li and Talwalkar 2019, arXiv:1902.07638): the control of all other strategies."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dsrna_jax.search.sampled.strategy import Strategy, uniform


def strategy(config: Any, choices: np.ndarray) -> Strategy:
    """Uniform codes, whatever the rewards."""
    return Strategy(
        init=lambda key: jnp.zeros((), jnp.int32),
        propose=lambda state, key: uniform(key, config.round_size, choices),
        observe=lambda state, codes, rewards: state,
    )
