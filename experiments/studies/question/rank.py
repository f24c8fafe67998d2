"""Rank study: R of random cells at initialisation, in a supernet and after training, each as it is in the searches."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.genotypes.genotype import Genotype, edges
from dsrna_jax.search.config import SearchConfig
from experiments.studies.question.statistics import kendall

STAGES = ("initialisation", "supernet", "training")
TRUTHS = {"attacked": "accuracy under attack", "radius": "certified radius"}
SIZE = "number of weights"
_STRONG = 60.0  # of the logit of what is chosen: its share is 1 in float32


def alphas_of(cell: Genotype, primitives: Sequence[str], has_edge_logits: bool) -> dict[str, np.ndarray]:
    """Alphas of which the mixtures of a supernet are one cell: its operations have share 1, its edges equal weights."""
    alphas = {}
    for kind in cell.groups:
        places, chosen = edges(cell.nodes), {(source, target): name for name, source, target in cell.genes(kind)}
        names = [chosen.get(place, "none") for place in places]
        alphas[kind] = np.array([[_STRONG * (name == column) for column in primitives] for name in names], np.float32)
        if has_edge_logits:
            alphas[f"{kind}_edges"] = np.array([_STRONG * (place in chosen) for place in places], np.float32)
    return alphas


def supernet(config: SearchConfig, steps: int) -> Any:
    """The setup of a search and its state after some steps of the weights at the first alphas, which stay."""
    import jax

    from dsrna_jax.runtime import sharding
    from dsrna_jax.search.setup import search_setup

    setup = search_setup(config)
    options = sharding.compiler_options(sharding.mesh(1))
    weight_step = jax.jit(setup.functions.weight_step, compiler_options=options)
    state = jax.jit(setup.functions.init)(jax.random.key(config.seed, impl="rbg"))
    for step in range(steps):
        state, _ = weight_step(state, batch_of(setup, "search_train", step))
    return setup, state


def batch_of(setup: Any, half: str, step: int) -> Any:
    """The batch of a half of the training images in a step of a search, not augmented."""
    import jax.numpy as jnp

    from dsrna_jax.search.state import SearchBatch

    chosen, data = setup.batch(half, step), setup.dataset
    return SearchBatch(jnp.asarray(data.images[chosen], jnp.float32) / 255, jnp.asarray(data.labels[chosen]))


def scores(folder: Path, searches: Mapping[str, SearchConfig], trained: Any, count: int) -> dict[str, float]:
    """R of each search at each of `STAGES`, of the network in a training's folder, on `count` images of the alphas' half.

    Args:
      searches: configurations of the searches with R, by name.
      trained: the result of `supernet`.
    """
    import jax
    import jax.numpy as jnp

    from dsrna_jax.networks import spaces
    from dsrna_jax.networks.function import NetworkFunction
    from dsrna_jax.runtime import sharding
    from dsrna_jax.training import restore

    setup, state = trained
    loaded = restore.load(folder)
    chosen = np.resize(setup.batch("search_val", 0), count)
    images = jnp.asarray(setup.dataset.images[chosen], jnp.float32) / 255
    labels = jnp.asarray(setup.dataset.labels[chosen])
    config, cell = setup.config, genotypes.from_json(loaded.metadata["genotype"])
    assert isinstance(cell, Genotype)  # as all random ones are
    alphas = jax.tree.map(jnp.asarray, alphas_of(cell, config.primitives, f"{cell.groups[0]}_edges" in state.alphas))
    mixtures = spaces.mixtures(alphas, config.nodes, config.primitives)
    first = jax.jit(loaded.network.init)(jax.random.key(loaded.metadata["config"]["seed"]), images)
    networks: Mapping[str, Callable[[], Any]] = {
        "initialisation": lambda: _of_batch(NetworkFunction(loaded.network, first), images),
        "supernet": lambda: _of_batch(
            NetworkFunction(setup.network, {"params": state.weights, "batch_stats": state.batch_stats}, mixtures), images
        ),
        "training": lambda: NetworkFunction(loaded.network, loaded.variables),
    }
    found = {}
    for stage, network in networks.items():

        def measured(network=network):
            function, radius = network(), jnp.log(jnp.float32(1e-3))
            return {name: _measure(of)(function, images, labels, jax.random.key(0), log_radius=radius).robustness.mean()
                    for name, of in searches.items()}  # fmt: skip

        values = jax.jit(measured, compiler_options=sharding.compiler_options(sharding.mesh(1)))()
        found |= {f"{name} at {stage}": float(value) for name, value in values.items()}
    return found


def with_sizes(rows: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of scores, with the number of weights of their networks among the scores."""
    sizes = {f"{network['name']}/scores": network["weights"] for network in networks}
    return [{**row, "scores": {SIZE: sizes.get(row["name"]), **row["scores"]}} for row in rows]


class Correlation(NamedTuple):
    """Kendall's tau of a score with a truth, with its interval, and that among cells of one size; None of the size itself."""

    score: str
    truth: str
    tau: tuple[float, float, float]
    at_one_size: tuple[float, float, float] | None


def correlations(rows: Sequence[Mapping[str, Any]]) -> list[Correlation]:
    """Rank correlations of all scores with each of `TRUTHS`, over the rows that have both and the size."""
    found = []
    for name in rows[0]["scores"] if rows else ():
        for truth, title in TRUTHS.items():
            each = [[row["scores"].get(key) for key in (name, truth, SIZE)] for row in rows]
            whole = [line for line in each if None not in line]
            if name not in TRUTHS and len(whole) >= 3:
                scores, truths, sizes = zip(*whole, strict=True)
                found.append(
                    Correlation(name, title, kendall(scores, truths), None if name == SIZE else kendall(scores, truths, sizes))
                )
    return found


def _measure(config: SearchConfig) -> Callable[..., Any]:
    from dsrna_jax.measures.measure import configured

    return configured(config).apply


def _of_batch(function: Any, images: Any) -> Any:
    """The function with the statistics of these images as constants, as a search has it."""
    _, moments = function.network.apply(function.variables, images, function.mixtures, "batch", mutable=["moments"])
    return dataclasses.replace(function, variables=function.variables | moments, statistics="frozen")
