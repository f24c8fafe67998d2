"""Supernets, and the networks that architectures describe.

    derived_network  the network of a genotype, described before it has weights
    supernet         the network of a search space, whose operations are mixed by alphas
    initial_alphas   alphas of a space at the start of a search; `mixtures` makes the shares of operations from them
    Network          the Flax module of either
    NetworkFunction  a network with its weights as a function of images, in stages that bounds can rescale
    weight_count     number of weights
    multiply_adds    number of multiplications with additions for one image

Importing the package imports no JAX.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.networks.derived import derived_network
    from dsrna_jax.networks.function import NetworkFunction
    from dsrna_jax.networks.multiplications import multiply_adds
    from dsrna_jax.networks.network import Network, weight_count
    from dsrna_jax.networks.spaces import initial_alphas, mixtures, supernet

__all__ = [
    "Network",
    "NetworkFunction",
    "derived_network",
    "initial_alphas",
    "mixtures",
    "multiply_adds",
    "supernet",
    "weight_count",
]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "Network": "network:Network",
        "NetworkFunction": "function:NetworkFunction",
        "derived_network": "derived:derived_network",
        "initial_alphas": "spaces:initial_alphas",
        "mixtures": "spaces:mixtures",
        "multiply_adds": "multiplications:multiply_adds",
        "supernet": "spaces:supernet",
        "weight_count": "network:weight_count",
    },
)
