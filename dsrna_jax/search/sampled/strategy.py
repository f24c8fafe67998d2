"""The interface of strategies, which choose the children of a sampled search: three pure functions."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.search.sampled import STRATEGIES

Codes = Int[Array, "child position"]
Rewards = Float[Array, " child"]


class Strategy(NamedTuple):
    """A strategy as pure functions, for the caller to jit; its state is a tree of arrays of fixed shapes.

    init(key) -> state
    propose(state, key) -> codes: the children of a round.
    observe(state, codes, rewards) -> state; a higher reward is better.
    """

    init: Callable[[PRNGKeyArray], Any]
    propose: Callable[[Any, PRNGKeyArray], Codes]
    observe: Callable[[Any, Codes, Rewards], Any]


def configured(config: Any, choices: np.ndarray) -> Strategy:
    """The strategy that a configuration names, with its options from the other fields.

    Args:
      choices: [position], the number of values of each position of a code.
    """
    return importlib.import_module(STRATEGIES[config.strategy]).strategy(config, choices)


def uniform(key: PRNGKeyArray, count: int, choices: np.ndarray) -> Codes:
    """Codes with independent, uniform values."""
    return jax.random.randint(key, (count, len(choices)), 0, jnp.asarray(choices)[None])
