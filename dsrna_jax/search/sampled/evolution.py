"""Regularised evolution (AmoebaNet; Real et al. 2019, arXiv:1802.01548): the oldest member dies, whatever its reward.

A child is the best of a tournament with one mutation: a position of its code gets another value. The paper draws one of the two
kinds of positions first, sources or operations; here all positions are equally likely. A round is made from one population, as
by so many workers at once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.search.sampled.strategy import Codes, Rewards, Strategy, uniform


class Population(NamedTuple):
    """The members, in a ring: member number i, counted from the first child of all, is in row i modulo the size.

    count: children so far.
    """

    codes: Int[Array, "member position"]
    rewards: Float[Array, " member"]
    count: Int[Array, ""]


def mutated(code: Int[Array, " position"], key: PRNGKeyArray, choices: np.ndarray) -> Int[Array, " position"]:
    """The code with another value at one position, drawn uniformly among those that have more than one."""
    where, by = jax.random.split(key)
    free = np.flatnonzero(choices > 1)
    position = jnp.asarray(free)[jax.random.randint(where, (), 0, len(free))]
    count = jnp.asarray(choices)[position]
    distance = jax.random.randint(by, (), 1, count)
    return code.at[position].set((code[position] + distance) % count)


def strategy(config: Any, choices: np.ndarray) -> Strategy:
    """Random codes until the population is full, then mutated winners of tournaments."""
    size, rivals = config.population, config.tournament

    def init(key: PRNGKeyArray) -> Population:
        codes = jnp.zeros((size, len(choices)), jnp.int32)
        return Population(codes, jnp.full(size, -jnp.inf), jnp.zeros((), jnp.int32))

    def child(population: Population, key: PRNGKeyArray) -> Int[Array, " position"]:
        draw, change = jax.random.split(key)
        members = jax.random.permutation(draw, size)[:rivals]
        winner = members[jnp.argmax(population.rewards[members])]
        return mutated(population.codes[winner], change, choices)

    def propose(population: Population, key: PRNGKeyArray) -> Codes:
        fresh = uniform(key, config.round_size, choices)
        bred = jax.vmap(lambda key: child(population, key))(jax.random.split(key, config.round_size))
        return jnp.where(population.count < size, fresh, bred)

    def observe(population: Population, codes: Codes, rewards: Rewards) -> Population:
        def birth(population, born):
            code, reward = born
            row = population.count % size
            codes, rewards = population.codes.at[row].set(code), population.rewards.at[row].set(reward)
            return Population(codes, rewards, population.count + 1), ()

        return jax.lax.scan(birth, population, (codes, rewards))[0]

    return Strategy(init, propose, observe)
