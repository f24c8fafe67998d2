"""Codes: sub-networks as vectors of whole numbers, and the paths and mixtures that compute them.

A coding has `choices` [position], the number of values of each position; `path(code)`, for a `PathNetwork`; `mixtures(code)`, for
a supernet of all operations; and `architecture(code)`. Every vector of choices is a valid code.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype, edge_count, edges, reduction_positions
from dsrna_jax.genotypes.robnet import CODES, RobNet
from dsrna_jax.networks.network import Mixture
from dsrna_jax.networks.path import Path

Code = Int[Array, " position"]


class CellCoding:
    """Codes of the cells of DARTS's spaces: for each node of a cell two different sources, and an operation on each.

    A code lists the cells, in these their nodes, and of each node (pair of sources, operation of the first, of the second). A
    uniform code is a uniform genotype (`zoo.random`). Choices of -1 leave a node out.
    """

    def __init__(self, nodes: int, primitives: Sequence[str], cells: int):
        self.nodes, self.operations = nodes, tuple(name for name in primitives if name != "none")
        self.pairs = [tuple(combinations(range(node + 2), 2)) for node in range(nodes)]
        of_cell = [count for pairs in self.pairs for count in (len(pairs), len(self.operations), len(self.operations))]
        self.choices = np.array(of_cell * len(CELL_TYPES))
        self.kinds = np.array([index in reduction_positions(cells) for index in range(cells)], int)

    def path(self, code: Code) -> Path:
        """The path of all cells: two steps for each node."""
        edge_parts, operations = [], code.reshape(len(CELL_TYPES), self.nodes, 3)[..., 1:]
        for node, pairs in enumerate(self.pairs):
            pair = code.reshape(len(CELL_TYPES), self.nodes, 3)[:, node, 0]
            edge_parts.append(edge_count(node) + jnp.asarray(pairs)[jnp.maximum(pair, 0)])
        of_kinds = jnp.stack(edge_parts, axis=1).reshape(len(CELL_TYPES), -1), operations.reshape(len(CELL_TYPES), -1)
        return Path(*(rows[self.kinds] for rows in of_kinds))

    def mixtures(self, code: Code) -> dict[str, Mixture]:
        """The mixtures of a supernet, by cell type: weight 1 for the branches of the code, 0 for all others."""
        result = {}
        for kind, cell in zip(CELL_TYPES, code.reshape(len(CELL_TYPES), self.nodes, 3), strict=True):
            rows = []
            for node, pairs in enumerate(self.pairs):
                is_source = jax.nn.one_hot(jnp.array(pairs), node + 2).transpose(1, 0, 2)  # [which, pair, source]
                pair = jax.nn.one_hot(cell[node, 0], len(pairs))
                operations = jax.nn.one_hot(cell[node, 1:], len(self.operations))
                rows.append(jnp.einsum("p,wps,wo->so", pair, is_source, operations))
            result[kind] = Mixture(jnp.concatenate(rows).ravel(), None)
        return result

    def architecture(self, code: Sequence[int] | np.ndarray) -> Genotype:
        """The genotype of a code. Raises: ValueError if a node is left out."""
        genes = []
        for cell in np.asarray(code).reshape(len(CELL_TYPES), self.nodes, 3).tolist():
            if min(map(min, cell)) < 0:
                raise ValueError(f"expected a code of whole cells; got {cell}")
            sources = [self.pairs[node][pair] for node, (pair, _, _) in enumerate(cell)]
            named = [[self.operations[o] for o in operations] for _, *operations in cell]
            genes.append(
                tuple((n, s) for names, pair in zip(named, sources, strict=True) for n, s in zip(names, pair, strict=True))
            )
        every = tuple(range(2, self.nodes + 2))
        return Genotype(genes[0], every, genes[1], every)


class RobNetCoding:
    """Codes of RobNet's cells: on each edge nothing, a separable convolution, a skip connection, or both (index into `CODES`).

    All cells share one code or, if it is free, each has its own. Where a node would have no edge, its first gets a convolution.
    """

    operations = ("skip_connect", "sep_conv_3x3")

    def __init__(self, nodes: int, cells: int, is_free: bool):
        self.nodes, self.cells, self.is_free = nodes, cells, is_free
        self.choices = np.full(edge_count(nodes) * (cells if is_free else 1), len(CODES))

    def whole(self, code: Code | np.ndarray) -> Any:
        """The code of each cell, [cell, edge], of 1 cell if all share one; every node has an edge."""
        cells = code.reshape(-1, edge_count(self.nodes))
        first = np.zeros(cells.shape[1], int)
        first[[edge_count(node) for node in range(self.nodes)]] = 1
        into = np.zeros((cells.shape[1], cells.shape[1]), int)  # [edge, other edge into the same node]
        targets = np.array([target for _, target in edges(self.nodes)])
        into[targets[:, None] == targets[None]] = 1
        return cells + first[None] * (cells @ into == 0)

    def path(self, code: Code) -> Path:
        """The path of all cells: a step for the skip connection and one for the convolution of every edge."""
        cells = self.whole(code)
        bits = jnp.stack([cells >> 1 & 1, cells & 1], axis=2)
        operations = jnp.where(bits == 1, jnp.arange(2)[None, None], -1).reshape(len(cells), -1)
        every = jnp.broadcast_to(jnp.repeat(jnp.arange(cells.shape[1]), 2), (self.cells, 2 * cells.shape[1]))
        return Path(every, jnp.broadcast_to(operations, every.shape))

    def mixtures(self, code: Code) -> dict[str, Mixture]:
        """The mixtures of a supernet for a code that all cells share: weight 1 or 0 for each branch."""
        (cell,) = self.whole(code)
        weights = jnp.stack([cell >> 1 & 1, cell & 1], axis=1).astype(jnp.float32).ravel()
        return dict.fromkeys(CELL_TYPES, Mixture(weights, None))

    def architecture(self, code: Sequence[int] | np.ndarray) -> RobNet:
        """The RobNet of a code."""
        names = list(CODES)
        return RobNet(tuple(tuple(names[value] for value in cell) for cell in np.asarray(self.whole(np.asarray(code))).tolist()))


def _cells(config: Any) -> CellCoding:
    return CellCoding(config.nodes, config.primitives, config.cells)


# By search space; the others have no codes.
CODINGS: dict[str, Callable[[Any], CellCoding | RobNetCoding]] = {
    "darts": _cells,
    "s5": _cells,
    "robnet": lambda config: RobNetCoding(config.nodes, config.cells, config.cell_free),
}
