"""Codes: sub-networks as vectors of choices, one row of whole numbers each, and the mixtures of a supernet that compute them."""

from collections.abc import Sequence
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype, edge_count
from dsrna_jax.networks.network import Mixture

Code = Int[Array, " position"]


class CellCoding:
    """Codes of the cells of DARTS's spaces: for each node of a cell two different sources, and an operation on each.

    A code lists the cells, in these their nodes, and of each node (pair of sources, operation of the first, of the second). Every
    vector of choices is a valid code, and a uniform one is a uniform genotype (`zoo.random`). Choices of -1 leave a node out.

    choices: [position], the number of values that each position can have.
    """

    def __init__(self, nodes: int, primitives: Sequence[str]):
        self.nodes, self.operations = nodes, tuple(name for name in primitives if name != "none")
        self.pairs = [tuple(combinations(range(node + 2), 2)) for node in range(nodes)]
        of_cell = [count for pairs in self.pairs for count in (len(pairs), len(self.operations), len(self.operations))]
        self.choices = np.array(of_cell * len(CELL_TYPES))

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
            weights = jnp.concatenate(rows)
            result[kind] = Mixture(weights.ravel(), jnp.ones(edge_count(self.nodes)))
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
