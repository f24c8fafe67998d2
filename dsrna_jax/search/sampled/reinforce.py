"""A controller learnt by REINFORCE, as in NASNet (arXiv:1707.07012) and ENAS (Pham et al. 2018, arXiv:1802.03268).

An LSTM writes a code position by position; it reads the choice before. Policy gradient with a moving baseline and an entropy
bonus, by Adam. NASNet itself takes proximal policy optimisation. ENAS turns between controller and supernet; here the supernet
has learnt before, on uniform sub-networks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrna_jax.search.sampled.strategy import Codes, Rewards, Strategy

SIZE = 64  # of the LSTM; 100 in both papers
TEMPERATURE, REACH = 5.0, 2.5  # logits are REACH * tanh(logits / TEMPERATURE), as in ENAS
KEPT = 0.95  # of the baseline, in a round


class Controller(NamedTuple):
    """The weights of the controller, the state of Adam, and the baseline, which is that of the first round before."""

    weights: Any
    optimizer: Any
    baseline: Float[Array, ""]
    count: Int[Array, ""]


def initial(key: PRNGKeyArray, choices: np.ndarray) -> dict[str, Array]:
    """Weights uniform in ±0.1, as in ENAS."""
    most = int(choices.max())
    shapes = {
        "embedding": (most + 1, SIZE),
        "position": (len(choices), SIZE),
        "gates": (2 * SIZE, 4 * SIZE),
        "output": (SIZE, most),
    }
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.uniform(k, shape, minval=-0.1, maxval=0.1) for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def written(weights: Any, choices: np.ndarray, key: PRNGKeyArray | None, code: Int[Array, " position"] | None = None):
    """A code, its log-probability and the entropy of its choices, in nats: drawn by `key`, or the given one."""
    most = int(choices.max())
    keys = jax.random.split(jax.random.key(0) if key is None else key, len(choices))

    def step(carried, parts):
        (cell, hidden), before = carried
        own_key, count, place, given = parts
        x = weights["embedding"][before] + place
        i, f, g, o = jnp.split(jnp.concatenate([x, hidden]) @ weights["gates"], 4)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        logits = REACH * jnp.tanh(hidden @ weights["output"] / TEMPERATURE)
        logits = jax.nn.log_softmax(jnp.where(jnp.arange(most) < count, logits, -1e9))
        choice = jax.random.categorical(own_key, logits) if code is None else given
        entropy = -(jnp.exp(logits) * logits).sum()
        return ((cell, hidden), choice + 1), (choice, logits[choice], entropy)

    start = ((jnp.zeros(SIZE), jnp.zeros(SIZE)), jnp.zeros((), jnp.int32))
    given = jnp.zeros(len(choices), jnp.int32) if code is None else code
    parts = (keys, jnp.asarray(choices), weights["position"], given)
    _, (choice, likelihood, entropy) = jax.lax.scan(step, start, parts)
    return choice.astype(jnp.int32), likelihood.sum(), entropy.sum()


def strategy(config: Any, choices: np.ndarray) -> Strategy:
    """Codes that the controller writes; each round of rewards moves it by one step of Adam."""
    optimizer = optax.adam(config.controller_lr)

    def init(key: PRNGKeyArray) -> Controller:
        weights = initial(key, choices)
        return Controller(weights, optimizer.init(weights), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def propose(state: Controller, key: PRNGKeyArray) -> Codes:
        return jax.vmap(lambda k: written(state.weights, choices, k)[0])(jax.random.split(key, config.round_size))

    def observe(state: Controller, codes: Codes, rewards: Rewards) -> Controller:
        mean = rewards.mean()
        baseline = jnp.where(state.count == 0, mean, KEPT * state.baseline + (1 - KEPT) * mean)

        def loss(weights):
            likelihoods, entropies = jax.vmap(lambda code: written(weights, choices, None, code)[1:])(codes)
            return -((rewards - baseline) * likelihoods + config.controller_entropy * entropies).mean()

        updates, optimizer_state = optimizer.update(jax.grad(loss)(state.weights), state.optimizer, state.weights)
        return Controller(optax.apply_updates(state.weights, updates), optimizer_state, baseline, state.count + 1)

    return Strategy(init, propose, observe)
