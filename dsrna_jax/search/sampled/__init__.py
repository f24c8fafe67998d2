"""Sampled searches: strategies that propose sub-networks of one trained supernet, which are rewarded on held-out images.

Importing this package imports no JAX, so that configurations and commands can list its names.
"""

STRATEGIES: dict[str, str] = {
    "gradient": "",
    "random": "dsrna_jax.search.sampled.random_search",
    "evolution": "dsrna_jax.search.sampled.evolution",
    "reinforce": "dsrna_jax.search.sampled.reinforce",
    "pnas": "dsrna_jax.search.sampled.pnas",
}
"""The module of each strategy, with a function `strategy(config, choices) -> Strategy`; none for searches by gradients.

An entry such as `STRATEGIES["greedy"] = "my_package.greedy"` adds a strategy.
"""
