"""The search spaces: the supernet of each, its alphas, and the mixtures that they stand for."""


import jax
import jax.numpy as jnp

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, PRIMITIVES, edges
from dsrna_jax.kernels.gather_rows import gather_rows
from dsrna_jax.networks.cell import supernet_branches
from dsrna_jax.networks.network import CellPlan, Mixture, Network

PARTIAL = {"darts": 1, "pcdarts": 4}  # the search spaces, and the K of their partial channels


def supernet(space: str, *, nodes: int, cells: int, primitives=PRIMITIVES, **settings) -> Network:
    """The network that holds every candidate operation on every edge of a search space."""
    if space not in PARTIAL:
        raise InputError(f"unknown search space {space!r}: expected one of {', '.join(PARTIAL)}")
    if settings["channels"] % (2 * PARTIAL[space]):
        raise InputError(f"channels must be a multiple of {2 * PARTIAL[space]} in the space {space}, got {settings['channels']}")
    plan = CellPlan(supernet_branches(nodes, primitives), tuple(range(2, 2 + nodes)))
    return Network((plan,) * cells, partial=PARTIAL[space], **settings)


def initial_alphas(key, space: str, nodes: int, primitives=PRIMITIVES) -> dict[str, jax.Array]:
    """Logits of the architecture, 1e-3 * normal: [edge, primitive] by cell type, and in `pcdarts` [edge] for the edges."""
    count, shapes = len(edges(nodes)), {}
    for kind in CELL_TYPES:
        shapes[kind] = (count, len(primitives))
        if PARTIAL[space] > 1:
            shapes[f"{kind}_edges"] = (count,)
    keys = jax.random.split(key, len(shapes))
    return {name: 1e-3 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, sorted(shapes.items()), strict=True)}


def mixtures(alphas, nodes: int, primitives=PRIMITIVES) -> dict[str, Mixture]:
    """Weights of the branches of a supernet: the softmax over an edge's primitives, less `none`'s share.

    Edge logits (PC-DARTS, section 3.2) become a softmax over the edges that enter a node, and multiply; without
    them an edge has weight one.
    """
    result, kept = {}, [i for i, p in enumerate(primitives) if p != "none"]
    for kind in CELL_TYPES:
        operations = gather_rows(jax.nn.softmax(alphas[kind]).T, kept).T
        edge = jnp.ones(len(operations), operations.dtype)
        if f"{kind}_edges" in alphas:
            borders = [sum(range(2, 2 + i)) for i in range(1, nodes)]
            edge = jnp.concatenate([jax.nn.softmax(part) for part in jnp.split(alphas[f"{kind}_edges"], borders)])
        result[kind] = Mixture((edge[:, None] * operations).ravel(), edge)
    return result
