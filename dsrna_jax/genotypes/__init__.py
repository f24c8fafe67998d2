"""Cells as plain data: genotypes of three kinds, their JSON, their derivation from alphas, and the published ones (`zoo`)."""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.genotypes import zoo
    from dsrna_jax.genotypes.architecture import Architecture, from_json, load, save, to_json
    from dsrna_jax.genotypes.darts_text import from_darts, to_darts
    from dsrna_jax.genotypes.dense_genotype import DenseGenotype
    from dsrna_jax.genotypes.derivation import derive, derive_dense
    from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype, edge_count, edges, skip_count
    from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES, Operation
    from dsrna_jax.genotypes.robnet import RobNet

__all__ = [
    "Architecture",
    "CELL_TYPES",
    "DenseGenotype",
    "Genotype",
    "OPERATIONS",
    "Operation",
    "PRIMITIVES",
    "RobNet",
    "derive",
    "derive_dense",
    "edge_count",
    "edges",
    "from_darts",
    "from_json",
    "load",
    "save",
    "skip_count",
    "to_darts",
    "to_json",
    "zoo",
]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "Architecture": "architecture:Architecture",
        "CELL_TYPES": "genotype:CELL_TYPES",
        "DenseGenotype": "dense_genotype:DenseGenotype",
        "Genotype": "genotype:Genotype",
        "OPERATIONS": "operations:OPERATIONS",
        "Operation": "operations:Operation",
        "PRIMITIVES": "operations:PRIMITIVES",
        "RobNet": "robnet:RobNet",
        "derive": "derivation:derive",
        "derive_dense": "derivation:derive_dense",
        "edge_count": "genotype:edge_count",
        "edges": "genotype:edges",
        "from_darts": "darts_text:from_darts",
        "from_json": "architecture:from_json",
        "load": "architecture:load",
        "save": "architecture:save",
        "skip_count": "genotype:skip_count",
        "to_darts": "darts_text:to_darts",
        "to_json": "architecture:to_json",
    },
)
