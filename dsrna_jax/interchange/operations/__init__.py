"""ONNX operations as JAX functions. One file per family, each with a table OPERATIONS; `ALL` joins them."""

from dsrna_jax.interchange.operations import (
    elementwise,
    indexing,
    places,
    products,
    quantisation,
    recurrent,
    reductions,
    resizing,
    shapes,
    windows,
)

FAMILIES = (elementwise, products, windows, shapes, indexing, places, reductions, resizing, quantisation, recurrent)
ALL = {name: operation for family in FAMILIES for name, operation in family.OPERATIONS.items()}
