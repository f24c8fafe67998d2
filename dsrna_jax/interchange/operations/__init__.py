"""ONNX operations as JAX functions. One file per family, each with a table OPERATIONS; `ALL` joins them."""

from dsrna_jax.interchange.operations import elementwise, indexing, products, quantisation, reductions, resizing, shapes, windows

FAMILIES = (elementwise, products, windows, shapes, indexing, reductions, resizing, quantisation)
ALL = {name: operation for family in FAMILIES for name, operation in family.OPERATIONS.items()}
