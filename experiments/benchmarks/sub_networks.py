"""Cost of a sampled sub-network beside that of the supernet with its mixture: CPU seconds of forward pass and gradient."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from dsrna_jax.losses import cross_entropy
from dsrna_jax.networks import spaces
from dsrna_jax.networks.path import path_network
from dsrna_jax.runtime import sharding
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.sampled import strategy
from dsrna_jax.search.sampled.coding import CellCoding

SUB_NETWORKS = 8  # whose mean is given


def sub_network_costs(config: SearchConfig, size: int, repeats: int) -> Iterator[dict[str, Any]]:
    """A row each for the forward pass and for the gradient, by batch statistics on grey images of `size` pixels a side.

    Seconds are those of the process on all cores, the least of the repeats, so that others on a machine disturb little; on an
    accelerator they are those of the clock.
    """
    settings: dict[str, Any] = {"nodes": config.nodes, "cells": config.cells, "channels": config.channels, "classes": 10}
    settings |= {"mean": (0.5,), "std": (0.25,)}
    coding = CellCoding(config.nodes, config.primitives, config.cells)
    codes = strategy.uniform(jax.random.key(0), SUB_NETWORKS, coding.choices)
    images = jax.random.uniform(jax.random.key(1), (config.batch_size, size, size, 1))
    labels = jnp.arange(config.batch_size) % 10
    operations = [name for name in config.primitives if name != "none"]
    sides = {
        "path": (path_network(operations, **settings), jax.vmap(coding.path)(codes)),
        "supernet": (spaces.supernet(config.space, **settings), jax.vmap(coding.mixtures)(codes)),
    }
    seconds = {name: _seconds(network, codes, images, labels, repeats) for name, (network, codes) in sides.items()}
    for part in ("forward", "gradient"):
        ours, whole = (seconds[name][part] for name in sides)
        row = {"what": "sub_network", "part": part, "space": config.space, "cells": config.cells, "channels": config.channels}
        row |= {"batch_size": config.batch_size, "size": size, "path_s": round(ours, 4), "supernet_s": round(whole, 4)}
        yield row | {"share": round(ours / whole, 3), "device": sharding.described(sharding.mesh(1)), "jax": jax.__version__}


def _seconds(network, sub_networks, images, labels, repeats: int) -> dict[str, float]:
    """Mean of the least seconds of each sub-network, for forward pass and gradient."""
    variables = jax.jit(network.init)(jax.random.key(2, impl="rbg"), images[:1])
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter

    def loss(weights, sub_network):
        others = {"params": weights, "batch_stats": variables["batch_stats"]}
        logits, _ = network.apply(others, images, sub_network, "batch", mutable=["moments"])
        return cross_entropy(logits, labels).mean()

    leaves, structure = jax.tree.flatten(sub_networks)
    result, each = {}, [jax.tree.unflatten(structure, parts) for parts in zip(*leaves, strict=True)]
    for part, function in (("forward", loss), ("gradient", jax.grad(loss))):
        compiled, total = jax.jit(function).lower(variables["params"], each[0]).compile(), 0.0
        for sub_network in each:
            least = float("inf")
            for _ in range(repeats + 1):  # the first run warms up
                began = clock()
                jax.block_until_ready(compiled(variables["params"], sub_network))
                least = min(least, clock() - began)
            total += least
        result[part] = total / SUB_NETWORKS
    return result
