"""Progressive search with a surrogate (PNAS; Liu et al. 2018, arXiv:1712.00559): cells grow node by node.

The children of the first rounds have cells of one node; those of the following add a node to the best so far, chosen by a
surrogate that learns all rewards. The paper's surrogate is an LSTM, which ranks all expansions of its beam; here it is a ridge
regression on the choices, which ranks `EXPANSIONS` random ones for each child. All nodes have equally many rounds. No child has
the cell of one before it, while the random expansions hold others.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrna_jax.search.sampled.strategy import Codes, Rewards, Strategy, uniform

EXPANSIONS = 64
RIDGE = 1.0


class Memory(NamedTuple):
    """All children so far: codes, rewards, and their number; rows that are still free have reward -inf."""

    codes: Int[Array, "child position"]
    rewards: Float[Array, " child"]
    count: Int[Array, ""]


def features(codes: Int[Array, "child position"], choices: np.ndarray) -> Float[Array, "child feature"]:
    """One-hot choices and a constant; a position that is left out has none."""
    parts = [jax.nn.one_hot(codes[:, position], int(count)) for position, count in enumerate(choices)]
    return jnp.concatenate([jnp.ones((len(codes), 1)), *parts], axis=1)


def predicted(memory: Memory, codes: Int[Array, "child position"], choices: np.ndarray) -> Float[Array, " child"]:
    """Rewards of codes by a ridge regression on the children so far."""
    is_known = (jnp.arange(len(memory.codes)) < memory.count)[:, None]
    known = features(memory.codes, choices) * is_known
    rewards = jnp.where(is_known[:, 0], memory.rewards, 0)
    mean = rewards.sum() / jnp.maximum(memory.count, 1)
    centred = jnp.where(is_known[:, 0], rewards - mean, 0)
    weights = jnp.linalg.solve(known.T @ known + RIDGE * jnp.eye(known.shape[1]), known.T @ centred)
    return mean + features(codes, choices) @ weights


def _is_repeated(codes: Int[Array, "code position"], judged: Int[Array, "child position"]) -> Bool[Array, " code"]:
    """Whether a code is one of those that are judged, or one before it in the list."""
    is_same = (codes[:, None] == codes[None]).all(2)
    return jnp.tril(is_same, -1).any(1) | (codes[:, None] == judged[None]).all(2).any(1)


def strategy(config: Any, choices: np.ndarray) -> Strategy:
    """Codes of CellCoding's form: two cells, in each of them `config.nodes` equal parts."""
    nodes, rounds = config.nodes, config.children // config.round_size
    node_of = np.tile(np.arange(len(choices) // 2) * nodes // (len(choices) // 2), 2)

    def level(count):
        """Number of nodes, from 1, in the round that begins after `count` children."""
        return count // config.round_size * nodes // rounds + 1

    def cut(codes, most):
        return jnp.where(jnp.asarray(node_of)[None] < most, codes, -1)

    def init(key: PRNGKeyArray) -> Memory:
        codes = -jnp.ones((config.children, len(choices)), jnp.int32)
        return Memory(codes, jnp.full(config.children, -jnp.inf), jnp.zeros((), jnp.int32))

    def propose(memory: Memory, key: PRNGKeyArray) -> Codes:
        now, number = level(memory.count), EXPANSIONS * config.round_size
        fresh = uniform(key, number, choices)
        sizes = (memory.codes[:, None] >= 0) * (jnp.asarray(node_of)[None, None] + 1)
        is_parent = (sizes.max((1, 2)) == now - 1) & (jnp.arange(config.children) < memory.count)
        ranked = jnp.argsort(jnp.where(is_parent, -memory.rewards, jnp.inf))[: config.round_size]
        has_parent = is_parent[ranked]
        which = jnp.arange(number) % config.round_size
        parents = jnp.where(has_parent[which][:, None], memory.codes[ranked[which]], -1)
        codes = cut(jnp.where(parents >= 0, parents, fresh), now)
        rewards = jnp.where(_is_repeated(codes, memory.codes), -jnp.inf, predicted(memory, codes, choices))
        return codes[jnp.argsort(-rewards)[: config.round_size]]

    def observe(memory: Memory, codes: Codes, rewards: Rewards) -> Memory:
        rows = memory.count + jnp.arange(len(codes))
        return Memory(memory.codes.at[rows].set(codes), memory.rewards.at[rows].set(rewards), memory.count + len(codes))

    return Strategy(init, propose, observe)
