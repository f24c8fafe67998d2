"""The networks that architectures describe."""

from typing import Any

from dsrna_jax.genotypes.architecture import Architecture
from dsrna_jax.genotypes.block_genotype import BlockGenotype
from dsrna_jax.genotypes.genotype import CELL_TYPES, reduction_positions
from dsrna_jax.genotypes.robnet import RobNet
from dsrna_jax.networks.blocks import block_network
from dsrna_jax.networks.network import Network
from dsrna_jax.networks.plan import Branch, CellPlan, genotype_branches


def derived_network(architecture: Architecture, *, cells: int, **settings: Any) -> Network:
    """The network of an architecture's cells or blocks; `settings` as those of a `Network`.

    Raises: InputError if a RobNet or a block genotype is of another number of cells.
    """
    if isinstance(architecture, BlockGenotype):
        architecture.check_depth(cells)
        return block_network([(name,) for name in architecture.blocks], **{"affine": True, **settings})
    if isinstance(architecture, RobNet):
        architecture.check_depth(cells)
        every = tuple(range(2, 2 + architecture.nodes))
        plans = (CellPlan(tuple(Branch(s, t, p) for (p, s), t in architecture.branches(i)), every) for i in range(cells))
        return Network(tuple(plans), **{"affine": False, **settings})
    normal, reduction = (CellPlan(genotype_branches(architecture.genes(k)), architecture.concat(k)) for k in CELL_TYPES)
    plans = (reduction if i in reduction_positions(cells) else normal for i in range(cells))
    return Network(tuple(plans), **{"affine": True, **settings})
